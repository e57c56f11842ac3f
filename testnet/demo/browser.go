//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/chromedp/chromedp"
)

// A browser is a headless Chromium inside one host of the laboratory, with
// the Helper's page open. Selectors are CSS.
type browser struct {
	ctx    context.Context
	cancel context.CancelFunc
}

// startBrowser starts Chromium through the wrapper that enters the host's
// network namespace, and opens url.
func startBrowser(ctx context.Context, wrapper, profile, url string) (*browser, error) {
	alloc, cancelAlloc := chromedp.NewExecAllocator(ctx,
		chromedp.ExecPath(wrapper),
		chromedp.UserDataDir(profile),
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("force-device-scale-factor", "1"),
		chromedp.WindowSize(1400, 1000),
	)
	tab, cancelTab := chromedp.NewContext(alloc)
	b := &browser{ctx: tab, cancel: func() { cancelTab(); cancelAlloc() }}
	if err := chromedp.Do(tab, chromedp.Navigate(url)); err != nil {
		b.cancel()
		return nil, fmt.Errorf("chromium: %w", err)
	}
	return b, nil
}

// wait polls a JavaScript expression until it is true.
func (b *browser) wait(what, expr string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expr+")"))
		if err == nil && ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("browser: %s not seen within %v", what, limit)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (b *browser) click(selector string) error {
	return chromedp.Do(b.ctx, chromedp.Click(chromedp.CSS(selector)))
}

// press sends real key events to whatever has the focus.
func (b *browser) press(keys string) error {
	return chromedp.Do(b.ctx, chromedp.KeyEvent(keys))
}

func (b *browser) focus(selector string) error {
	return chromedp.Do(b.ctx, chromedp.Focus(chromedp.CSS(selector)))
}

func (b *browser) screenshot(path string) error {
	shot, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		return fmt.Errorf("browser: %s: %w", filepath.Base(path), err)
	}
	return os.WriteFile(path, shot, 0o644)
}

// canvas returns the pixels that noVNC decoded, unscaled.
func (b *browser) canvas(selector string) (image.Image, error) {
	url, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](
		fmt.Sprintf("document.querySelector(%q).toDataURL('image/png')", selector)))
	if err != nil {
		return nil, fmt.Errorf("browser: canvas: %w", err)
	}
	data, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(url, "data:image/png;base64,"))
	if err != nil {
		return nil, fmt.Errorf("browser: canvas: %w", err)
	}
	return png.Decode(bytes.NewReader(data))
}

package screen

import (
	"fmt"
	"image"
	"net"
	"sync"
)

// Memory is a Source made of an image in memory.
type Memory struct {
	hub hub

	mu     sync.Mutex
	frame  *Frame
	cursor Cursor
	grabs  int
	closed bool
}

// NewMemory returns a black desktop, or ErrSize.
func NewMemory(size image.Point) (*Memory, error) {
	if err := CheckSize(size); err != nil {
		return nil, fmt.Errorf("screen: %v: %w", size, err)
	}
	return &Memory{frame: NewFrame(size)}, nil
}

// Paint lets draw change the picture and reports r as changed. draw must not
// keep the frame.
func (m *Memory) Paint(r image.Rectangle, draw func(*Frame)) {
	m.mu.Lock()
	draw(m.frame)
	r = r.Intersect(m.frame.Bounds())
	m.mu.Unlock()
	m.hub.add(Change{Rects: []image.Rectangle{r}}, nil)
}

// Resize replaces the desktop by a black one of another size.
func (m *Memory) Resize(size image.Point) error {
	if err := CheckSize(size); err != nil {
		return fmt.Errorf("screen: %v: %w", size, err)
	}
	m.mu.Lock()
	m.frame = NewFrame(size)
	m.mu.Unlock()
	m.hub.add(Change{Rects: []image.Rectangle{{Max: size}}, Resized: true}, nil)
	return nil
}

// SetCursor changes the pointer shape. The caller leaves c.Pix alone after.
func (m *Memory) SetCursor(c Cursor) {
	m.mu.Lock()
	m.cursor = c
	m.mu.Unlock()
	m.hub.add(Change{Cursor: true}, nil)
}

// Snapshot returns a copy of the present picture.
func (m *Memory) Snapshot() *Frame {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := NewFrame(m.frame.Size)
	copy(f.Pix, m.frame.Pix)
	return f
}

// Grabs returns how often Grab was called: what is never grabbed cannot leak.
func (m *Memory) Grabs() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.grabs
}

// Size implements Source.
func (m *Memory) Size() image.Point {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.frame.Size
}

// Grab implements Source.
func (m *Memory) Grab(dst *Frame, r image.Rectangle) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return net.ErrClosed
	}
	m.grabs++
	dst.Copy(m.frame, r)
	return nil
}

// Cursor implements Source.
func (m *Memory) Cursor() (Cursor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursor, nil
}

// Watch implements Source.
func (m *Memory) Watch() *Watch { return m.hub.watch(image.Rectangle{Max: m.Size()}) }

// Close implements Source.
func (m *Memory) Close() error {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.hub.fail(net.ErrClosed)
	return nil
}

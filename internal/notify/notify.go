// Package notify tells the service manager, systemd, how a service fares: that
// it is ready, that it is alive, what it does. Without one it does nothing. It
// is the one place where coreos/go-systemd enters.
//
//	n := notify.New()
//	n.Ready()
//	for range time.Tick(n.Interval()) { n.Alive("12 peers") }
package notify

import (
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Notifier speaks to the service manager of this process, or to nobody.
type Notifier struct{ watchdog time.Duration }

// New looks for a service manager in the environment.
func New() *Notifier {
	d, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		d = 0
	}
	return &Notifier{d}
}

// Present reports whether anybody listens.
func (n *Notifier) Present() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

// Interval is how often Alive should be called: half of the time after which
// the manager takes the service for dead, or 10 s if it never does.
func (n *Notifier) Interval() time.Duration {
	if n.watchdog > 0 {
		return n.watchdog / 2
	}
	return 10 * time.Second
}

// Ready says that the service serves.
func (n *Notifier) Ready() { n.send(daemon.SdNotifyReady) }

// Stopping says that it is about to end.
func (n *Notifier) Stopping() { n.send(daemon.SdNotifyStopping) }

// Alive says that the service works, and in one line what it does.
func (n *Notifier) Alive(status string) {
	n.send(daemon.SdNotifyWatchdog + "\nSTATUS=" + strings.ReplaceAll(status, "\n", " "))
}

// send ignores failures: there is nobody to tell about them but the manager,
// which notices the silence.
func (n *Notifier) send(s string) {
	_, _ = daemon.SdNotify(false, s)
}

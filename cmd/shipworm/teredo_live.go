package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"shipworm/teredo"
)

// resolveTime bounds how long the name of a new server may take.
const resolveTime = 10 * time.Second

// liveClient is a client that runs, with those of its settings that netsh knows.
type liveClient struct {
	client *teredo.Client
	end    context.CancelCauseFunc // of the command
	force  bool                    // whatever the type

	changing sync.Mutex // one change at a time; it may wait for a resolver
	mu       sync.Mutex // guards set
	set      clientOptions
}

func (l *liveClient) options() clientOptions {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.set
}

func (l *liveClient) setOptions(o clientOptions) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set = o
}

// shown returns the state as JSON.
func (l *liveClient) shown() ([]byte, error) {
	set := l.options()
	return shownJSON(l.client.State(), set.typ, set.managed)
}

// changeReply is what became of a change, schema 1.
type changeReply struct {
	Schema  int      `json:"schema"`
	Now     []string `json:"now,omitempty"`     // what holds from now on
	Restart []string `json:"restart,omitempty"` // what will from the next start
	Ends    string   `json:"ends,omitempty"`    // why the client ends now
	Error   string   `json:"error,omitempty"`   // why it took nothing
	PID     int      `json:"pid"`
	Service bool     `json:"service"` // systemd started it
}

// change takes settings as "teredo set" names them. If the client must end
// because of them, end says why.
func (l *liveClient) change(changes map[string]string) (r *changeReply, end error) {
	l.changing.Lock()
	defer l.changing.Unlock()
	r = &changeReply{Schema: 1, PID: os.Getpid(), Service: os.Getenv("RUNTIME_DIRECTORY") != ""}
	want, set := l.client.Settings(), l.options()
	for _, key := range sortedKeys(changes) {
		value := changes[key]
		if _, err := settingValue(key, value); err != nil {
			r.Error = fmt.Sprintf("%s: %v", key, err)
			return r, nil
		}
		now := true
		switch key {
		case "type":
			set.typ = clientType(value)
			want.Force = l.force || set.typ == typeEnterprise
		case "server":
			// Which one is the default depends on how it is started.
			if now = value != typeDefault; now {
				want.Server = splitServer(value)
			}
		case "refresh":
			seconds, _ := strconv.Atoi(value) // 0 for the default
			want.Refresh = time.Duration(seconds) * time.Second
		case "port":
			port, _ := strconv.ParseUint(value, 10, 16)
			now = uint16(port) == set.port // the socket is open
		default:
			r.Error = fmt.Sprintf("%.20q is not a setting", key)
			return r, nil
		}
		if now {
			r.Now = append(r.Now, key)
		} else {
			r.Restart = append(r.Restart, key)
		}
	}
	if end = set.forbidden(); end != nil {
		l.setOptions(set)
		r.Ends, r.Now, r.Restart = end.Error(), nil, nil
		return r, end
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTime)
	defer cancel()
	if err := l.client.Change(ctx, want); err != nil {
		r.Error = oneLine(err).Error()
		if errors.Is(err, net.ErrClosed) {
			r.Error = "it has no server yet, or ends"
		}
		r.Now, r.Restart = nil, nil
		return r, nil
	}
	l.setOptions(set)
	return r, nil
}

// tell says what a running client did with a change, to who asked for it.
func (r *changeReply) tell(w io.Writer) {
	if len(r.Now) > 0 {
		fmt.Fprintf(w, "the running client has taken it: %s\n", strings.Join(r.Now, ", "))
	}
	if r.Ends != "" {
		fmt.Fprintf(w, "the running client ends: %s\n", r.Ends)
	}
	if r.Error != "" {
		fmt.Fprintf(w, "the running client goes on as before, until it is started again: %s\n", r.Error)
	}
	if len(r.Restart) > 0 {
		how := fmt.Sprintf("end process %d and start it again", r.PID)
		if r.Service {
			how = "systemctl restart shipworm-teredo-client"
		}
		fmt.Fprintf(w, "it takes a restart: %s; %s\n", strings.Join(r.Restart, ", "), how)
	}
}

// forbidden returns why a client with these options must not run, or nil.
func (o *clientOptions) forbidden() error {
	switch {
	case o.typ == typeDisabled:
		return withHint(negativeError(errors.New("teredo client: disabled")), "shipworm teredo set --type default")
	case o.managed && o.typ != typeEnterprise:
		return withHint(errTeredoOff, "--type enterpriseclient runs it there, too")
	}
	return nil
}

package trace_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"shipworm/testnet/invariant"
	"shipworm/testnet/link"
	"shipworm/testnet/sim"
	"shipworm/testnet/trace"
)

type captured struct {
	line, comment string
	at            time.Time
	up            bool
	journey       uint64
	data          []byte
}

// readPcapng reads a file back with the library's reader.
func readPcapng(t *testing.T, r io.Reader) (out []captured, names []string) {
	t.Helper()
	in, err := pcapgo.NewNgReader(r, pcapgo.NgReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if in.LinkType() != layers.LinkTypeRaw {
		t.Errorf("link type %v", in.LinkType())
	}
	for {
		data, ci, opts, err := in.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		i, err := in.Interface(ci.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		if len(opts.Comments) != 1 || opts.Flags == nil || opts.PacketID == nil || ci.Length != len(data) {
			t.Fatalf("options %+v, %+v", opts, ci)
		}
		out = append(out, captured{
			i.Name, opts.Comments[0], ci.Timestamp, opts.Flags.Direction == pcapgo.NgEpbFlagDirectionOutbound, *opts.PacketID, data,
		})
	}
	for i := range in.NInterfaces() {
		n, _ := in.Interface(i)
		names = append(names, n.Name)
	}
	return out, names
}

// What is read back is what was on the lines: bytes, nanoseconds, direction,
// journey, and a comment with the decision and its reason.
func TestPcapngReadBack(t *testing.T) {
	r := record(t, 1, trace.Config{})
	var b bytes.Buffer
	if err := r.WritePcapng(&b); err != nil {
		t.Fatal(err)
	}
	got, names := readPcapng(t, &b)
	want := r.Packets()
	if len(got) != len(want) || len(want) != 19 {
		t.Fatalf("%d packets, want %d, which is 19", len(got), len(want))
	}
	if s := strings.Join(names, ", "); s != "bob, home of bob, server, home of alice, alice" {
		t.Errorf("interfaces %s", s)
	}
	for i, w := range want {
		g := got[i]
		if g.line != w.Line || !g.at.Equal(w.Time) || g.up != w.Up || g.journey != w.Journey || !bytes.Equal(g.data, w.Data) || g.comment != w.Comment() {
			t.Errorf("packet %d: %+v, want %+v", i, g, w)
		}
	}
	for i, want := range map[int]string{
		0:  "bob sent; home of bob forwarded: mapping created",
		2:  "home of bob forwarded: mapping created; server delivered",
		8:  "home of alice forwarded: mapping created; home of bob dropped: filtered: the inside never sent to this address",
		18: "home of alice forwarded: mapping exists; home of alice/up dropped: lost on the line",
	} {
		if got[i].comment != want {
			t.Errorf("packet %d: %q, want %q", i, got[i].comment, want)
		}
	}
}

// Times keep their nanoseconds, and a packet under way says so.
func TestPcapngTimeIsExact(t *testing.T) {
	w := sim.New(1, start.Add(123456789))
	invariant.Install(t, w, invariant.Config{})
	r := trace.New(trace.Config{})
	r.Attach(w)
	h, err := w.Host("h", link.Config{Delay: time.Hour}, serverAt.Addr())
	if err != nil {
		t.Fatal(err)
	}
	p, _ := h.BindUDP(1, ignore)
	p.SendTo(aliceAt, make([]byte, 3)) // an odd length needs padding
	var b bytes.Buffer
	if err := r.WritePcapng(&b); err != nil {
		t.Fatal(err)
	}
	got, _ := readPcapng(t, &b)
	if len(got) != 1 || !got[0].at.Equal(start.Add(123456789)) || len(got[0].data) != 31 ||
		got[0].comment != "h sent; still on the way when the trace ended" {
		t.Errorf("%+v", got)
	}
}

// A line has a file of its own if wanted, and all of them together have every
// packet.
func TestSaveLines(t *testing.T) {
	r := record(t, 1, trace.Config{})
	dir := filepath.Join(t.TempDir(), trace.FolderLines)
	paths, err := r.Trace(trace.Filter{}).SaveLines(dir)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for i, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		got, names := readPcapng(t, f)
		f.Close()
		total += len(got)
		if len(names) != 1 || len(got) == 0 || got[0].line != names[0] {
			t.Errorf("%s: %d packets of %v", path, len(got), names)
		}
		if i == 1 && filepath.Base(path) != "02-home-of-bob.pcapng" {
			t.Errorf("path %s", path)
		}
	}
	if len(paths) != 5 || total != len(r.Packets()) {
		t.Errorf("%d files with %d packets", len(paths), total)
	}
	// A later trace leaves no line of this one, and no stranger's file is lost.
	notes := filepath.Join(dir, "notes.pcapng")
	if err := os.WriteFile(notes, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if paths, err = (&trace.Trace{}).SaveLines(dir); len(paths) != 0 || err != nil {
		t.Errorf("%v, %v", paths, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != "notes.pcapng" {
		t.Errorf("left %v, %v", left, err)
	}
}

// A trace without packets is a file that opens.
func TestPcapngEmpty(t *testing.T) {
	var b bytes.Buffer
	if err := trace.New(trace.Config{}).WritePcapng(&b); err != nil {
		t.Fatal(err)
	}
	if got, _ := readPcapng(t, &b); len(got) != 0 {
		t.Errorf("%d packets", len(got))
	}
}

// A name of any length and bytes neither breaks the file nor the comment.
func TestPcapngHostileNames(t *testing.T) {
	w := sim.New(1, start)
	r := trace.New(trace.Config{})
	r.Attach(w)
	h, err := w.Host(strings.Repeat("ü\n", 50000)+"\xff", link.Config{}, serverAt.Addr())
	if err != nil {
		t.Fatal(err)
	}
	h.Send([]byte("not a packet"))
	w.Settle(time.Second)
	var b bytes.Buffer
	if err := r.WritePcapng(&b); err != nil {
		t.Fatal(err)
	}
	got, _ := readPcapng(t, &b)
	if len(got) != 1 || len(got[0].comment) > 1000 || strings.ContainsAny(got[0].comment, "\n\xff") {
		t.Errorf("%d packets, %+v", len(got), got)
	}
}

type full struct{ room int }

var errFull = errors.New("disk full")

func (f *full) Write(b []byte) (int, error) {
	if f.room -= len(b); f.room < 0 {
		return 0, errFull
	}
	return len(b), nil
}

// Every writer reports that its output failed, wherever it does.
func TestWritersReportErrors(t *testing.T) {
	tr := record(t, 1, trace.Config{}).Trace(trace.Filter{})
	for _, f := range forms {
		for _, room := range []int{0, 1000} {
			if err := f.write(tr, &full{room}); !errors.Is(err, errFull) {
				t.Errorf("%s with room for %d bytes: %v", f.file, room, err)
			}
		}
	}
}

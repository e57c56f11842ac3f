package rfb

import (
	"bytes"
	"io"

	"github.com/klauspost/compress/zlib"
)

// A deflater is one zlib stream that lives as long as the connection (RFC
// 6143, 7.7.6). It is created at the first use.
type deflater struct {
	w   *zlib.Writer
	buf bytes.Buffer
}

// compress returns p compressed and flushed, so that the other side can read
// all of it at once. The result is valid until the next call.
func (d *deflater) compress(p []byte) []byte {
	d.buf.Reset()
	if d.w == nil {
		// The fastest level: the time until the picture is there counts for
		// more than its last tenth of size. The level is a valid constant.
		d.w, _ = zlib.NewWriterLevel(&d.buf, zlib.BestSpeed)
	}
	// Writes go to memory and cannot fail.
	_, _ = d.w.Write(p)
	_ = d.w.Flush()
	return d.buf.Bytes()
}

// maxRest is what may be left of a rectangle's compressed bytes when all its
// pixels have been read: the end-of-block code and the flush's empty block.
const maxRest = 16

// An inflater reads one zlib stream that arrives in pieces. It never holds
// more than one piece and the window of 32 KiB.
type inflater struct {
	in bytes.Buffer
	z  io.ReadCloser
}

// feed gives the next piece of the stream. A piece that was not used up means
// that more was packed into it than the rectangle has room for.
func (f *inflater) feed(p []byte) error {
	if f.in.Len() > maxRest {
		return protoErr("compressed data longer than its rectangle")
	}
	f.in.Write(p)
	if f.z == nil && f.in.Len() > 0 {
		z, err := zlib.NewReader(&f.in)
		if err != nil {
			return protoErr("zlib: %v", err)
		}
		f.z = z
	}
	return nil
}

// read fills p from the stream.
func (f *inflater) read(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if f.z == nil {
		return protoErr("no compressed data")
	}
	if _, err := io.ReadFull(f.z, p); err != nil {
		return protoErr("zlib: %v", err)
	}
	return nil
}

// end checks that the piece was used up.
func (f *inflater) end() error { return f.feed(nil) }

// reset forgets the stream; the next piece begins a new one.
func (f *inflater) reset() {
	f.z = nil
	f.in.Reset()
}

package shim

import (
	"encoding/binary"
	"io"
	"os"
	"slices"
	"sync"
)

// The streams of a command, as they are marked in an output file.
const (
	Stdout = 1
	Stderr = 2
)

// An output file is a row of frames: one byte for the stream, four for the
// length (big endian), then the data. StreamDropped in the stream's byte makes
// it a frame that says how many bytes of the stream the cap has cut: eight
// bytes, big endian.
const (
	StreamDropped     = 0x80
	OutputFrameHeader = 5
)

// partSize is how many bytes the head and the tail of a stream hold each.
const partSize = 4 << 10

// capture keeps head and tail of a command's streams and writes all of it, up
// to a cap, to the output file. The file is created with the first byte. One
// stream has at most three quarters of the cap, so that a flood on it leaves
// room for the other. Of a stream that was cut, the file ends with how much is
// left out, and with its tail.
type capture struct {
	path string
	cap  int64 // of the file's size
	// writeTo is (*os.File).Write; tests make it fail.
	writeTo func(*os.File, []byte) (int, error)

	mu sync.Mutex
	// mu guards the following.
	file    *os.File
	failed  bool
	written int64
	taken   [3]int64 // of written, by each stream
	dropped [3]int64
	parts   [3]ring
	masks   [3]*Masker // nil: nothing is masked
	closed  bool
}

func newCapture(path string, limit int64) *capture {
	return &capture{path: path, cap: limit, writeTo: (*os.File).Write}
}

// write takes what was read from a stream. It never fails: output that cannot
// be stored is counted as dropped.
func (c *capture) write(stream int, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if m := c.masks[stream]; m != nil {
		p = m.Mask(p)
	}
	c.take(stream, p)
}

// masking has texts kept out of what is written.
func (c *capture) masking(texts []string) *capture {
	for s := Stdout; s <= Stderr && len(texts) > 0; s++ {
		c.masks[s] = NewMasker(texts)
	}
	return c
}

// take takes what may be told of a stream. The caller holds mu.
func (c *capture) take(stream int, p []byte) {
	if len(p) == 0 {
		return
	}
	c.parts[stream].write(p)
	room := min(c.cap-c.written, c.cap-c.cap/4-c.taken[stream]) - OutputFrameHeader
	if c.dropped[stream] > 0 {
		room = 0 // what is left out is in one piece
	}
	keep := int(min(int64(len(p)), room))
	if keep <= 0 || c.failed || !c.store(byte(stream), p[:keep]) {
		keep = 0
	}
	c.dropped[stream] += int64(len(p) - keep)
}

func (c *capture) store(stream byte, p []byte) bool {
	if c.path == "" {
		return false
	}
	if c.file == nil {
		f, err := os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			c.failed = true
			return false
		}
		c.file = f
	}
	buf := make([]byte, OutputFrameHeader, OutputFrameHeader+len(p))
	buf[0] = stream
	binary.BigEndian.PutUint32(buf[1:], uint32(len(p))) // at most a read buffer
	if _, err := c.writeTo(c.file, append(buf, p...)); err != nil {
		// What follows a torn frame could not be read: it is taken back, and
		// nothing but the count of what is missing is written any more.
		c.failed = true
		if err = c.file.Truncate(c.written); err == nil {
			_, err = c.file.Seek(c.written, io.SeekStart)
		}
		if err != nil {
			c.path = ""
		}
		return false
	}
	c.written += int64(len(p)) + OutputFrameHeader
	c.taken[stream&^StreamDropped] += int64(len(p)) + OutputFrameHeader
	return true
}

// close ends the file and returns the parts of stdout and stderr.
func (c *capture) close() (stdout, stderr Part) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for s := byte(Stdout); s <= Stderr; s++ {
		if m := c.masks[s]; m != nil {
			c.take(int(s), m.Rest())
		}
		c.storeEnd(s)
	}
	if c.file != nil {
		_ = c.file.Close()
	}
	return c.parts[Stdout].part(), c.parts[Stderr].part()
}

// storeEnd writes how many bytes of a stream the file lacks, and the last ones of
// these. Where the file cannot be written any more, it is only the count that is
// tried.
func (c *capture) storeEnd(s byte) {
	lost := c.dropped[s]
	if lost == 0 || c.file == nil {
		return
	}
	var tail []byte
	if !c.failed {
		tail = c.parts[s].part().Tail
		tail = tail[len(tail)-int(min(int64(len(tail)), lost)):]
	}
	if left := lost - int64(len(tail)); left > 0 {
		c.store(s|StreamDropped, binary.BigEndian.AppendUint64(nil, uint64(left)))
	}
	if len(tail) > 0 {
		c.store(s, tail)
	}
}

// ring keeps the first and the last partSize bytes of a stream.
type ring struct {
	head  []byte
	tail  []byte // a ring once it is full
	start int
	bytes int64
}

func (r *ring) write(p []byte) {
	r.bytes += int64(len(p))
	n := min(partSize-len(r.head), len(p))
	r.head = append(r.head, p[:n]...)
	p = p[n:]
	if len(p) > partSize {
		p = p[len(p)-partSize:]
	}
	n = min(partSize-len(r.tail), len(p))
	r.tail = append(r.tail, p[:n]...)
	for p = p[n:]; len(p) > 0; p = p[n:] {
		n = copy(r.tail[r.start:], p)
		r.start = (r.start + n) % partSize
	}
}

func (r *ring) part() Part {
	tail := append(append([]byte(nil), r.tail[r.start:]...), r.tail[:r.start]...)
	return Part{Head: r.head, Tail: tail, Bytes: r.bytes}
}

// Capture keeps the output of what runs without a process of the shim, as that of commands
// is kept. Its methods may be called by many goroutines.
type Capture struct{ c *capture }

// NewCapture writes to the file at path, up to limit bytes, and keeps the texts of mask out
// of it.
func NewCapture(path string, limit int64, mask []string) *Capture {
	return &Capture{newCapture(path, limit).masking(mask)}
}

// writeMost bounds a frame: readers have as much room for one, and more.
const writeMost = 32 << 10

// Write takes what comes on a stream. What cannot be kept is counted.
func (c *Capture) Write(stream int, p []byte) {
	for part := range slices.Chunk(p, writeMost) {
		c.c.write(stream, part)
	}
}

// Close ends the file and returns the parts of the streams. What is written later is lost.
func (c *Capture) Close() (stdout, stderr Part) { return c.c.close() }

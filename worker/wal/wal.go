// Package wal is a small append-only log of records with group commit.
//
// A record on disk is: magic (4 bytes), payload length (4), CRC-32C of the
// payload (4), payload. Append only queues a record in memory. Sync makes it
// durable: one goroutine writes and syncs for everybody who came meanwhile, so the number of fdatasync calls follows the
// speed of the disk and not the number of records.
//
// I1. When Sync returns nil, every record of the batch is durable.
// I2. Records are read back in the order in which they were appended.
// I3. A torn tail is cut off when the log is opened. A damaged place in the
// middle is skipped, reported, and costs only the records it covers.
// I4. Rewrite replaces the whole log at once: after a crash either the old or
// the new content is there.
package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

const (
	magic      = 0x314a5243 // "CRJ1"
	headerSize = 12
	// MaxRecord is the longest payload, in bytes.
	MaxRecord = 8 << 20
)

// ErrClosed is returned by a log that was closed, or that cannot be trusted
// any more because a sync has failed.
var ErrClosed = errors.New("log is closed")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Opened tells what opening a log found.
type Opened struct {
	// Records is how many records were read.
	Records int
	// Torn is how many bytes were cut from the end.
	Torn int64
	// Damaged is how many bytes in the middle could not be read.
	Damaged int64
}

// Log is an open log. All methods may be called from any goroutine.
type Log struct {
	path string
	// writeAt is (*os.File).WriteAt, unless OpenWith was given another.
	writeAt func(*os.File, []byte, int64) (int, error)

	// syncing is held by whoever writes the file.
	syncing sync.Mutex

	mu sync.Mutex
	// mu guards the following.
	file    *os.File
	size    int64  // bytes of the file that are good
	pending []byte // framed records that are not written yet
	next    Batch  // the batch that pending belongs to
	done    Batch  // the highest batch that was dealt with
	failed  map[Batch]error
	broken  error
}

// Open opens the log at path, creates it if need be, and calls read for every
// record in it. The payload is only valid during the call.
func Open(path string, read func(payload []byte) error) (*Log, Opened, error) {
	return OpenWith(path, (*os.File).WriteAt, read)
}

// OpenWith is Open with another way to write batches, such as one that fails.
// Rewrite does not use it.
func OpenWith(path string, writeAt func(*os.File, []byte, int64) (int, error), read func(payload []byte) error) (*Log, Opened, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, Opened{}, fmt.Errorf("open log: %w", err)
	}
	info, good, err := replay(f, read)
	if err == nil && info.Torn > 0 {
		if err = f.Truncate(good); err == nil {
			err = f.Sync()
		}
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		_ = f.Close()
		return nil, Opened{}, fmt.Errorf("open log %s: %w", path, err)
	}
	return &Log{path: path, writeAt: writeAt, file: f, size: good, next: 1, failed: map[Batch]error{}}, info, nil
}

// replay reads all records and returns the offset behind the last good one.
func replay(f *os.File, read func([]byte) error) (Opened, int64, error) {
	var info Opened
	data, err := io.ReadAll(f)
	if err != nil {
		return info, 0, err
	}
	var off, good int64
	for off < int64(len(data)) {
		payload, ok := parse(data[off:])
		if !ok {
			skip := resync(data[off+1:])
			if skip < 0 {
				break
			}
			off += 1 + skip
			continue
		}
		info.Damaged += off - good
		if err := read(payload); err != nil {
			return info, 0, fmt.Errorf("record at offset %d: %w", off, err)
		}
		info.Records++
		off += headerSize + int64(len(payload))
		good = off
	}
	info.Torn = int64(len(data)) - good
	return info, good, nil
}

// parse returns the payload of the record that b begins with.
func parse(b []byte) ([]byte, bool) {
	if len(b) < headerSize || binary.LittleEndian.Uint32(b) != magic {
		return nil, false
	}
	n := int64(binary.LittleEndian.Uint32(b[4:]))
	if n > MaxRecord || n > int64(len(b)-headerSize) {
		return nil, false
	}
	payload := b[headerSize : headerSize+n]
	return payload, crc32.Checksum(payload, castagnoli) == binary.LittleEndian.Uint32(b[8:])
}

// resync returns the offset of the next good record in b, or -1.
func resync(b []byte) int64 {
	var mark [4]byte
	binary.LittleEndian.PutUint32(mark[:], magic)
	for off := 0; ; off++ {
		i := bytes.Index(b[off:], mark[:])
		if i < 0 {
			return -1
		}
		off += i
		if _, ok := parse(b[off:]); ok {
			return int64(off)
		}
	}
}

// frame appends payload to dst as a record.
func frame(dst, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, magic)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload))) // checked by the caller
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(payload, castagnoli))
	return append(dst, payload...)
}

// Batch names the group of records that become durable together.
type Batch uint64

// Append queues a record and returns the batch to give to Sync.
func (l *Log) Append(payload []byte) (Batch, error) {
	if len(payload) > MaxRecord {
		return 0, fmt.Errorf("log record has %d bytes, at most %d are allowed", len(payload), MaxRecord)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken != nil {
		return 0, l.broken
	}
	l.pending = frame(l.pending, payload)
	return l.next, nil
}

// Size returns how many bytes the log has, queued records included.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size + int64(len(l.pending))
}

// Sync returns when the batch is durable. When writing it failed (a full
// disk), the whole batch is taken back and everyone who waits for it gets the
// error; the log can be used again. When syncing fails the log is closed for
// good: what the disk holds is not known any more.
func (l *Log) Sync(b Batch) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	return l.flush(b)
}

// flush writes what is pending, unless batch was dealt with already. The
// caller holds syncing.
func (l *Log) flush(batch Batch) error {
	l.mu.Lock()
	if l.done >= batch {
		defer l.mu.Unlock()
		return l.failed[batch]
	}
	if l.broken != nil {
		defer l.mu.Unlock()
		return l.broken
	}
	buf, file, at := l.pending, l.file, l.size
	l.pending = nil
	now := l.next
	l.next++
	l.mu.Unlock()

	_, err := l.writeAt(file, buf, at)
	var fatal error
	if err != nil {
		if terr := file.Truncate(at); terr != nil {
			fatal = terr
		}
	} else if err = fdatasync(file); err != nil {
		fatal = err
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = now
	if fatal != nil {
		l.broken = fmt.Errorf("%w: %w", ErrClosed, fatal)
	}
	if err != nil {
		err = fmt.Errorf("write log: %w", err)
		delete(l.failed, now-1024) // nobody waits for so old a batch
		l.failed[now] = err
		return err
	}
	l.size = at + int64(len(buf))
	return nil
}

// Rewrite replaces the content of the log by the records that fill emits.
// Records that are queued are dropped, so fill must emit what they said too;
// Append must not be called until Rewrite has returned.
func (l *Log) Rewrite(fill func(emit func(payload []byte) error) error) error {
	l.syncing.Lock()
	defer l.syncing.Unlock()

	tmp := l.path + ".new"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("rewrite log: %w", err)
	}
	size, err := writeAll(f, fill)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, l.path)
	}
	if err != nil {
		_ = f.Close()
		_ = os.Remove(tmp)
		return fmt.Errorf("rewrite log: %w", err)
	}
	err = syncDir(filepath.Dir(l.path))

	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.file.Close()
	l.file, l.size = f, size
	l.pending = nil
	l.done = l.next
	l.next++
	if err != nil {
		l.broken = fmt.Errorf("%w: %w", ErrClosed, err)
		return l.broken
	}
	return nil
}

func writeAll(f *os.File, fill func(func([]byte) error) error) (int64, error) {
	var size int64
	buf := make([]byte, 0, 256<<10)
	err := fill(func(payload []byte) error {
		if len(payload) > MaxRecord {
			return fmt.Errorf("log record has %d bytes, at most %d are allowed", len(payload), MaxRecord)
		}
		buf = frame(buf, payload)
		if len(buf) < 128<<10 {
			return nil
		}
		n, err := f.Write(buf)
		size += int64(n)
		buf = buf[:0]
		return err
	})
	if err != nil {
		return 0, err
	}
	n, err := f.Write(buf)
	return size + int64(n), err
}

// Close syncs what is queued and closes the file.
func (l *Log) Close() error {
	l.syncing.Lock()
	defer l.syncing.Unlock()
	l.mu.Lock()
	last, queued := l.next, len(l.pending) > 0
	l.mu.Unlock()
	var err error
	if queued {
		err = l.flush(last)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.broken = ErrClosed
	}
	return errors.Join(err, l.file.Close())
}

func fdatasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

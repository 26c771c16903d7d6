package backup

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"
)

const (
	magic = "CARILLON-BACKUP\n"
	// Format is the version of the files that this release writes.
	Format = 1
	// chunkBytes is about how many bytes of records a chunk has before compression, and
	// maxChunk how many a reader takes.
	chunkBytes = 1 << 20
	maxChunk   = 64 << 20
	// maxText bounds header and trailer.
	maxText = 1 << 20
)

// ErrDamaged is wrapped by what is wrong with a file.
var ErrDamaged = errors.New("the backup is damaged")

// Header tells what a backup is of.
type Header struct {
	Format    int       `json:"format"`
	Cluster   string    `json:"cluster"`
	Epoch     int64     `json:"epoch"`
	Revision  int64     `json:"revision"`
	Prefix    string    `json:"prefix"`
	Shards    int       `json:"shards"`
	TakenAt   time.Time `json:"takenAt"`
	Version   string    `json:"version,omitempty"`
	Encrypted bool      `json:"encrypted,omitempty"`
}

// Trailer tells how much there is.
type Trailer struct {
	Keys  int64 `json:"keys"`
	Bytes int64 `json:"bytes"` // of keys and values
	// Jobs are those among the keys; Leased are the keys that were left out.
	Jobs   int64  `json:"jobs"`
	Leased int64  `json:"leased"`
	Chunks int64  `json:"chunks"`
	SHA256 string `json:"sha256"`
}

// Record is a key of a backup.
type Record struct {
	// Key has no prefix.
	Key         string
	Create, Mod int64
	Value       []byte
}

// writer writes a file.
type writer struct {
	w      io.Writer
	sum    hash.Hash
	buf    []byte
	packed bytes.Buffer
	end    Trailer
}

func newWriter(w io.Writer, h *Header) (*writer, error) {
	x := &writer{sum: sha256.New()}
	x.w = io.MultiWriter(w, x.sum)
	if _, err := io.WriteString(x.w, magic); err != nil {
		return nil, err
	}
	return x, writeText(x.w, h)
}

func writeText(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...))
	return err
}

func (x *writer) add(r *Record) error {
	x.end.Keys++
	x.end.Bytes += int64(len(r.Key) + len(r.Value))
	x.buf = r.Append(x.buf)
	if len(x.buf) < chunkBytes {
		return nil
	}
	return x.flush()
}

func (x *writer) flush() error {
	if len(x.buf) == 0 {
		return nil
	}
	x.packed.Reset()
	z := gzip.NewWriter(&x.packed)
	if _, err := z.Write(x.buf); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	x.buf = x.buf[:0]
	x.end.Chunks++
	sum := sha256.Sum256(x.packed.Bytes())
	head := append(binary.BigEndian.AppendUint32(nil, uint32(x.packed.Len())), sum[:]...)
	if _, err := x.w.Write(head); err != nil {
		return err
	}
	_, err := x.w.Write(x.packed.Bytes())
	return err
}

func (x *writer) close() (Trailer, error) {
	if err := x.flush(); err != nil {
		return x.end, err
	}
	x.end.SHA256 = hex.EncodeToString(x.sum.Sum(nil))
	if _, err := x.w.Write([]byte{0, 0, 0, 0}); err != nil {
		return x.end, err
	}
	return x.end, writeText(x.w, &x.end)
}

// Read reads a backup, and calls fn, unless it is nil, with each record; its value is good
// during the call. An error wraps ErrDamaged where the file is not as it was written: what
// fn was given before is right, but not all.
func Read(r io.Reader, fn func(*Record) error) (h Header, end Trailer, err error) {
	sum := sha256.New()
	in := io.TeeReader(r, sum)
	first := make([]byte, len(magic))
	if _, err := io.ReadFull(in, first); err != nil || string(first) != magic {
		return h, end, fmt.Errorf("%w: it does not begin as one", ErrDamaged)
	}
	if err := readText(in, "header", &h); err != nil {
		return h, end, err
	}
	if h.Format != Format {
		return h, end, fmt.Errorf("%w: it is of format %d, and this release reads %d", ErrDamaged, h.Format, Format)
	}
	var got Trailer
	for {
		whole := hex.EncodeToString(sum.Sum(nil))
		var head [4]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return h, end, fmt.Errorf("%w: it ends in chunk %d", ErrDamaged, got.Chunks+1)
		}
		n := binary.BigEndian.Uint32(head[:])
		if n == 0 {
			got.SHA256 = whole
			break
		}
		got.Chunks++
		if err := readChunk(in, n, &got, fn); err != nil {
			return h, end, fmt.Errorf("chunk %d: %w", got.Chunks, err)
		}
	}
	if err := readText(in, "trailer", &end); err != nil {
		return h, end, err
	}
	if _, err := io.ReadFull(in, make([]byte, 1)); !errors.Is(err, io.EOF) {
		return h, end, fmt.Errorf("%w: something follows its end", ErrDamaged)
	}
	if got.Keys != end.Keys || got.Bytes != end.Bytes || got.Chunks != end.Chunks || got.SHA256 != end.SHA256 {
		return h, end, fmt.Errorf("%w: it has %d keys in %d chunks with the hash %s, and says %d, %d and %s", ErrDamaged, got.Keys, got.Chunks, got.SHA256, end.Keys, end.Chunks, end.SHA256)
	}
	return h, end, nil
}

func readText(r io.Reader, what string, v any) error {
	var head [4]byte
	_, err := io.ReadFull(r, head[:])
	n := binary.BigEndian.Uint32(head[:])
	if err == nil && n > maxText {
		err = fmt.Errorf("of %d bytes", n)
	}
	if err == nil {
		text := make([]byte, n)
		if _, err = io.ReadFull(r, text); err == nil {
			err = json.Unmarshal(text, v)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: its %s cannot be read: %w", ErrDamaged, what, err)
	}
	return nil
}

func readChunk(r io.Reader, n uint32, got *Trailer, fn func(*Record) error) error {
	if n > maxChunk {
		return fmt.Errorf("%w: of %d bytes", ErrDamaged, n)
	}
	var want [sha256.Size]byte
	packed := make([]byte, n)
	if _, err := io.ReadFull(r, want[:]); err != nil {
		return fmt.Errorf("%w: cut short", ErrDamaged)
	}
	if _, err := io.ReadFull(r, packed); err != nil {
		return fmt.Errorf("%w: cut short", ErrDamaged)
	}
	if sha256.Sum256(packed) != want {
		return fmt.Errorf("%w: its hash is another", ErrDamaged)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	all, err := io.ReadAll(io.LimitReader(z, maxChunk+1))
	if err == nil && len(all) > maxChunk {
		err = errors.New("too large")
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	for len(all) > 0 {
		rec, rest, ok := CutRecord(all)
		if !ok {
			return fmt.Errorf("%w: record %d is cut short", ErrDamaged, got.Keys+1)
		}
		all = rest
		got.Keys++
		got.Bytes += int64(len(rec.Key) + len(rec.Value))
		if fn != nil {
			if err := fn(&rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// Append writes the record after b.
func (r *Record) Append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(r.Key)))
	b = append(b, r.Key...)
	b = binary.AppendVarint(b, r.Create)
	b = binary.AppendVarint(b, r.Mod)
	b = binary.AppendUvarint(b, uint64(len(r.Value)))
	return append(b, r.Value...)
}

// CutRecord reads the record with which b begins; its value is a part of b.
func CutRecord(b []byte) (r Record, rest []byte, ok bool) {
	key, b, ok := cutText(b)
	if !ok {
		return r, nil, false
	}
	create, n := binary.Varint(b)
	if n <= 0 {
		return r, nil, false
	}
	mod, m := binary.Varint(b[n:])
	if m <= 0 {
		return r, nil, false
	}
	value, rest, ok := cutText(b[n+m:])
	return Record{Key: string(key), Create: create, Mod: mod, Value: value}, rest, ok
}

func cutText(b []byte) (text, rest []byte, ok bool) {
	n, m := binary.Uvarint(b)
	if m <= 0 || n > uint64(len(b)-m) {
		return nil, nil, false
	}
	return b[m : m+int(n)], b[m+int(n):], true //nolint:gosec // it is not above len(b)
}

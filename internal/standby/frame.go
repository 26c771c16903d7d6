package standby

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/carillon-cron/carillon/internal/backup"
)

// kind is that of a frame.
type kind byte

const (
	kindHead     kind = 'h'
	kindRecords  kind = 'r'
	kindDone     kind = 'd'
	kindChanges  kind = 'c'
	kindProgress kind = 'p'
	kindError    kind = 'e'
)

const (
	// frameBytes is about how many bytes of records a frame has, maxFrame how many a
	// reader takes.
	frameBytes = 256 << 10
	maxFrame   = 16 << 20
)

// Head is how a stream begins.
type Head struct {
	Cluster string `json:"cluster"`
	Epoch   int64  `json:"epoch"`
	Shards  int    `json:"shards"`
	SealKey string `json:"sealKey,omitempty"`
	Version string `json:"version,omitempty"`
	// Snapshot: all is told. Else what has changed after the revision that was asked for.
	Snapshot bool  `json:"snapshot"`
	Revision int64 `json:"revision"`
}

// Point says up to where nothing is missing.
type Point struct {
	Revision int64     `json:"revision"`
	AsOf     time.Time `json:"asOf"`
}

// Change says of which revision changes are.
type Change struct {
	Revision int64 `json:"revision"`
	// More: the revision is not whole before a frame without it.
	More bool `json:"more,omitempty"`
}

// failure is how a stream ends that says why.
type failure struct {
	Text string `json:"text"`
	Anew bool   `json:"anew,omitempty"`
}

// ErrAnew is wrapped when a stream cannot be gone on with.
var ErrAnew = errors.New("the copy has to begin anew")

// errStream is wrapped by what is wrong with a stream.
var errStream = errors.New("the stream is not as it should be")

// edit is a record, or the end of one.
type edit struct {
	backup.Record

	deleted bool
}

// size is about what it takes in a transaction.
func (e *edit) size() int { return len(e.Key) + len(e.Value) }

func writeFrame(w io.Writer, k kind, payload []byte) error {
	b := make([]byte, 0, 5+len(payload))
	b = append(b, byte(k))
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload))) //nolint:gosec // bounded by frameBytes and one record
	_, err := w.Write(append(b, payload...))
	return err
}

func writeJSON(w io.Writer, k kind, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFrame(w, k, text)
}

// appendEdits writes changes as the payload of a frame.
func appendEdits(head Change, edits []edit) ([]byte, error) {
	text, err := json.Marshal(head)
	if err != nil {
		return nil, err
	}
	b := binary.AppendUvarint(nil, uint64(len(text)))
	b = append(b, text...)
	for i := range edits {
		put := byte(1)
		if edits[i].deleted {
			put = 0
		}
		b = edits[i].Append(append(b, put))
	}
	return b, nil
}

func readFrame(r *bufio.Reader) (kind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > maxFrame {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes", errStream, n)
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, fmt.Errorf("%w: a frame is cut short: %w", errStream, err)
	}
	return kind(head[0]), payload, nil
}

// readHead reads how a stream begins.
func readHead(r *bufio.Reader) (Head, error) {
	k, payload, err := readFrame(r)
	if err != nil {
		return Head{}, err
	}
	if k != kindHead {
		return Head{}, fmt.Errorf("%w: it begins with %q", errStream, k)
	}
	return readJSON[Head](payload)
}

func readJSON[T any](payload []byte) (v T, err error) {
	if err := json.Unmarshal(payload, &v); err != nil {
		return v, fmt.Errorf("%w: %w", errStream, err)
	}
	return v, nil
}

func readRecords(payload []byte) ([]edit, error) {
	var out []edit
	for len(payload) > 0 {
		rec, rest, ok := backup.CutRecord(payload)
		if !ok {
			return nil, fmt.Errorf("%w: record %d is cut short", errStream, len(out)+1)
		}
		out = append(out, edit{Record: rec})
		payload = rest
	}
	return out, nil
}

func readChanges(payload []byte) (Change, []edit, error) {
	n, m := binary.Uvarint(payload)
	if m <= 0 || n > uint64(len(payload)-m) {
		return Change{}, nil, fmt.Errorf("%w: changes without a head", errStream)
	}
	head, err := readJSON[Change](payload[m : m+int(n)]) //nolint:gosec // not above its length
	if err != nil {
		return head, nil, err
	}
	var out []edit
	for rest := payload[m+int(n):]; len(rest) > 0; { //nolint:gosec // not above its length
		rec, after, ok := backup.CutRecord(rest[1:])
		if !ok || rest[0] > 1 {
			return head, nil, fmt.Errorf("%w: change %d is cut short", errStream, len(out)+1)
		}
		out = append(out, edit{rec, rest[0] == 0})
		rest = after
	}
	return head, out, nil
}

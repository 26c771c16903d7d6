package worker

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillon-cron/carillon/agentpush/agentpb"
	"github.com/carillon-cron/carillon/job"
	"github.com/carillon-cron/carillon/worker/shim"
)

const (
	// chunkBytes bounds the data of one message of output.
	chunkBytes = 4 << 10
	// followEvery is how often the file of a running task is looked at.
	followEvery = 100 * time.Millisecond
)

// output makes the report's form of a stream: valid UTF-8, at most
// job.MaxOutputPart bytes each for head and tail, no character cut in two.
func output(p shim.Part) job.Output {
	head, tail := p.Head, p.Tail
	cut := p.Bytes > int64(len(head)+len(tail))
	if n := partial(head); n > 0 && (cut || len(tail) > 0) {
		if !cut {
			tail = append(slices.Clone(head[len(head)-n:]), tail...)
		}
		head = head[:len(head)-n]
	}
	if over := len(tail) - job.MaxOutputPart; over > 0 {
		tail, cut = tail[over:], true
	}
	if cut {
		for i := 0; i < utf8.UTFMax && len(tail) > 0 && !utf8.RuneStart(tail[0]); i++ {
			tail = tail[1:]
		}
	}
	o := job.Output{Head: job.ValidText(head), Tail: job.ValidText(tail), Bytes: p.Bytes, Truncated: cut}
	// What stands for a byte that is not UTF-8 is longer than the byte.
	if over := len(o.Head) - job.MaxOutputPart; over > 0 {
		n := job.MaxOutputPart
		for !utf8.RuneStart(o.Head[n]) {
			n--
		}
		o.Head, o.Truncated = o.Head[:n], true
	}
	if over := len(o.Tail) - job.MaxOutputPart; over > 0 {
		for !utf8.RuneStart(o.Tail[over]) {
			over++
		}
		o.Tail, o.Truncated = o.Tail[over:], true
	}
	return o
}

// partial returns how many bytes at the end of b begin a character that is
// not complete.
func partial(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if c := b[len(b)-n]; utf8.RuneStart(c) {
			if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

// readOutput starts to answer a request for a task's output.
func (s *session) readOutput(sctx context.Context, q *agentpb.OutputRequest) {
	ctx, cancel := context.WithCancel(sctx)
	s.mu.Lock()
	full := len(s.readings) >= maxReaders
	rd := newReading(cancel, q)
	if !full {
		s.readings[q.GetId()] = rd
	}
	s.mu.Unlock()
	s.readers.Go(func() {
		defer cancel()
		var err error
		if full {
			err = errors.New("the minion serves too many requests for output now; try again")
		} else {
			err = s.copyOutput(ctx, q, rd)
			s.mu.Lock()
			delete(s.readings, q.GetId())
			s.mu.Unlock()
		}
		end := &agentpb.OutputChunk{Id: q.GetId(), Eof: true}
		if err != nil && ctx.Err() == nil {
			end.Error = agentpb.Cut(strings.ToValidUTF8(err.Error(), "\uFFFD"), agentpb.MaxReason)
		}
		if ctx.Err() == nil {
			s.emit(ctx, end)
		}
	})
}

func (s *session) emit(ctx context.Context, c *agentpb.OutputChunk) {
	select {
	case s.chunks <- c:
	case <-ctx.Done():
	}
}

// emitTo sends a chunk once the reader has room for it.
func (s *session) emitTo(ctx context.Context, rd *reading, c *agentpb.OutputChunk) {
	if rd.pass(ctx, int64(len(c.GetData())+agentpb.ChunkWeight)) {
		s.emit(ctx, c)
	}
}

// copyOutput sends a task's output file, and what is added to it until the
// task ends when the request says follow.
func (s *session) copyOutput(ctx context.Context, q *agentpb.OutputRequest, rd *reading) error {
	if f := q.GetFires(); f != nil {
		return s.copyFires(ctx, f, rd)
	}
	id, err := agentpb.ToTask(q.GetTask(), s.of.cfg.ID)
	if err != nil {
		return err
	}
	key := keyOf(id)
	known, open := s.of.tasks.open(key)
	if !known {
		return fmt.Errorf("the minion does not know this task, or has forgotten it")
	}
	var file *os.File
	var r *bufio.Reader
	for {
		if file == nil {
			if file, err = os.Open(s.of.cfg.path("output", key.String())); err == nil {
				defer func() { _ = file.Close() }() // opened once
				r = bufio.NewReaderSize(file, 32<<10)
			} else if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		if file != nil {
			if err := s.copyFrames(ctx, rd, file, r); err != nil {
				return err
			}
		}
		if !q.GetFollow() || !open {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(followEvery):
		}
		_, open = s.of.tasks.open(key) // once more after it has ended
	}
}

// copyFrames sends all whole frames from the file's offset on, and leaves the
// offset behind the last of them.
func (s *session) copyFrames(ctx context.Context, rd *reading, file *os.File, r *bufio.Reader) error {
	at, err := file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	r.Reset(file)
	var head [shim.OutputFrameHeader]byte
	buf := make([]byte, 64<<10)
	for ctx.Err() == nil {
		if _, err = io.ReadFull(r, head[:]); err != nil {
			break
		}
		n := int(binary.BigEndian.Uint32(head[1:]))
		if n > len(buf) {
			return fmt.Errorf("output file is damaged at byte %d", at)
		}
		if _, err = io.ReadFull(r, buf[:n]); err != nil {
			break
		}
		at += int64(len(head) + n)
		stream := int32(head[0] &^ shim.StreamDropped)
		if head[0]&shim.StreamDropped != 0 && n == 8 {
			s.emitTo(ctx, rd, &agentpb.OutputChunk{Id: rd.id, Stream: stream, Dropped: int64(binary.BigEndian.Uint64(buf))})
			continue
		}
		for part := range slices.Chunk(buf[:n], chunkBytes) {
			s.emitTo(ctx, rd, &agentpb.OutputChunk{Id: rd.id, Stream: stream, Data: slices.Clone(part)})
		}
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	_, err = file.Seek(at, io.SeekStart)
	return err
}

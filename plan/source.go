package plan

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// place is where something was read; both count from 1.
type place struct{ line, column int }

// source is the text of a plan, byte by byte, counted.
type source struct {
	r *bufio.Reader
	// read counts all bytes, most bounds them; mark is where the present task began.
	read, most, mark int64
	at               place
	// err is why no more is read: of the reader, or a limit.
	err error
}

func newSource(r io.Reader, most int64) *source {
	s := &source{r: bufio.NewReaderSize(r, 64<<10), most: most, at: place{1, 1}}
	const mark = "\uFEFF" // some write it before everything else
	if first, err := s.r.Peek(len(mark)); err == nil && string(first) == mark {
		_, _ = s.r.Discard(len(mark)) // it was there just now
	}
	return s
}

// begin begins another task, or a member of the plan itself.
func (s *source) begin() { s.mark = s.read }

// ReadByte is how encoding/xml reads, too.
func (s *source) ReadByte() (byte, error) {
	if s.err != nil {
		return 0, s.err
	}
	b, err := s.r.ReadByte()
	switch {
	case err != nil:
		s.err = err
		return 0, err
	case s.read >= s.most:
		s.err = fmt.Errorf("the plan %w: at most %d bytes are allowed", ErrTooLong, s.most)
		return 0, s.err
	case s.read-s.mark >= MaxTaskBytes:
		s.err = fmt.Errorf("the text of a task, or between tasks, %w: at most %d bytes are allowed", ErrTooLong, MaxTaskBytes)
		return 0, s.err
	}
	s.read++
	if b == '\n' {
		s.at = place{s.at.line + 1, 1}
	} else {
		s.at.column++
	}
	return b, nil
}

// Read is there for encoding/xml's sake, which prefers ReadByte.
func (s *source) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := s.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

// peek returns the next byte and leaves it; 0: there is none.
func (s *source) peek() byte {
	if s.err != nil {
		return 0
	}
	b, err := s.r.Peek(1)
	if err != nil {
		return 0
	}
	return b[0]
}

// broken returns the error of the reader itself; nil: it is the text that is wrong.
func (s *source) broken() error {
	if s.err == nil || errors.Is(s.err, io.EOF) || errors.Is(s.err, ErrTooLong) {
		return nil
	}
	return s.err
}

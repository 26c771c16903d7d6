package export

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
)

// File is a sink of JSON lines in a file. Use OpenFile.
type File struct {
	path, state string
	f           *os.File
	// at is what the file has that is whole.
	at position
}

// OpenFile opens a file, or makes it, for its owner only, and remembers in the file
// state how far it has come. A file that holds anything but an export is refused.
func OpenFile(path, state string) (*File, error) {
	at, err := readPosition(state, path)
	if err != nil {
		return nil, err
	}
	s := &File{path: path, state: state, at: at}
	if err := s.open(); err != nil {
		return nil, fmt.Errorf("audit file %s: %w", path, err)
	}
	return s, nil
}

// open opens the file, finds the last whole segment in it, and cuts off what lies
// behind that (E2).
func (s *File) open() error {
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("is not a file")
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	from := s.at.Size
	if info.Size() < from {
		from = 0 // it was moved away, and is another one
	}
	if s.at.SHA256 == "" {
		from = 0 // it is looked for
	}
	whole, met, err := lastWhole(f, from, nil)
	if err != nil && from > 0 {
		whole, met, err = lastWhole(f, 0, nil) // another one as long as that
	}
	if err == nil && whole.Size < info.Size() {
		err = f.Truncate(whole.Size)
	}
	if err != nil {
		_ = f.Close()
		return err
	}
	if err := syncDirectory(filepath.Dir(s.path)); err != nil {
		_ = f.Close()
		return err
	}
	grown := whole.Size >= s.at.Size // what it says last is newer than what was remembered, or the same
	s.f, s.at.Size = f, whole.Size
	if met && (grown || whole.Segment > s.at.Segment) {
		s.at.Segment, s.at.SHA256 = whole.Segment, whole.SHA256
	}
	return nil
}

// syncDirectory has a new file stay when the host loses power.
func syncDirectory(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// told is what of a line tells where an export is.
type told struct {
	Segment  int64  `json:"segment"`
	SHA256   string `json:"sha256"`
	Missing  string `json:"missing"`
	Restored string `json:"restored"`
	Action   string `json:"action"`
}

// isOf reports whether it is a line of an export.
func (t *told) isOf() bool {
	return t.Restored != "" || t.Segment != 0 && (t.SHA256 != "" || t.Missing != "" || t.Action != "")
}

// hashOf is the hash that the last line of a segment tells; empty: it tells none.
func hashOf(lines [][]byte) string {
	var t told
	if len(lines) == 0 || json.Unmarshal(lines[len(lines)-1], &t) != nil {
		return ""
	}
	return t.SHA256
}

// lastWhole returns the last segment whose hash, or absence, is told behind a place, and
// where its lines end; whether there is one. each is given each line that is whole.
func lastWhole(f *os.File, from int64, each func(*told)) (at position, met bool, err error) {
	at.Size = from
	if _, err := f.Seek(from, io.SeekStart); err != nil {
		return at, met, err
	}
	lines := bufio.NewReader(f)
	for end := from; ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return at, met, nil // what is left is no whole line
		}
		if err != nil {
			return at, met, err
		}
		end += int64(len(line))
		var t told
		if json.Unmarshal(line, &t) != nil || !t.isOf() {
			return at, met, fmt.Errorf("holds a line at byte %d that is not of an audit export; give another file", end-int64(len(line)))
		}
		if t.Action == "" {
			at.Segment, at.SHA256, at.Size, met = t.Segment, t.SHA256, end, true
		}
		if each != nil {
			each(&t)
		}
	}
}

// Last implements Sink.
func (s *File) Last() int64 { return s.at.Segment }

// Known implements Sink.
func (s *File) Known() (map[int64]string, error) {
	known := map[int64]string{}
	_, _, err := lastWhole(s.f, 0, func(t *told) {
		switch {
		case t.Action == "" && t.SHA256 != "":
			known[t.Segment] = t.SHA256
		case t.Restored != "":
			maps.DeleteFunc(known, func(seq int64, _ string) bool { return seq > t.Segment })
		}
	})
	if err == nil && s.at.SHA256 != "" {
		known[s.at.Segment] = s.at.SHA256
	}
	return known, err
}

// Write implements Sink.
func (s *File) Write(_ context.Context, seq int64, lines [][]byte) error {
	if err := s.again(); err != nil {
		return err
	}
	text := append(bytes.Join(lines, []byte{'\n'}), '\n')
	if _, err := s.f.WriteAt(text, s.at.Size); err != nil {
		return errors.Join(err, s.f.Truncate(s.at.Size))
	}
	if err := s.f.Sync(); err != nil {
		return errors.Join(err, s.f.Truncate(s.at.Size))
	}
	s.at.Segment, s.at.SHA256, s.at.Size = seq, hashOf(lines), s.at.Size+int64(len(text))
	if err := s.at.write(s.state); err != nil {
		// The file itself tells when the node starts again.
		return nil // the records are there
	}
	return nil
}

// again makes the file anew when it was moved away, or removed (E3).
func (s *File) again() error {
	here, err := s.f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(s.path)
	if err == nil && os.SameFile(here, there) && there.Size() >= s.at.Size { // else it was emptied
		return nil
	}
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	old := s.f
	was := s.at
	s.at.Size = 0
	if err := s.open(); err != nil {
		s.at = was
		return err
	}
	return old.Close()
}

// Close implements Sink.
func (s *File) Close() error { return s.f.Close() }

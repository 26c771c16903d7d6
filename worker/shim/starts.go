package shim

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
)

// startsPrefix begins the names of the files of starts; the instance follows.
const startsPrefix = "starts-"

// startLog notes which commands a shim begins to start, before it does, in a file
// of its own, for whoever comes after its death. What is written outlives the
// process, though not the host: it is not synced. A file that cannot be written is
// taken away, since it would say too little. The spawner's goroutine uses it.
type startLog struct {
	path string
	file *os.File // nil: it could not be written
	size int64
	// known returns the keys that may not be left out when it is written anew.
	known func() []string
}

func newStartLog(instance string, known func() []string) (*startLog, error) {
	l := &startLog{path: startsPrefix + instance, known: known}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("file of starts: %w", err)
	}
	l.file = f
	return l, nil
}

// begin notes that the command with this key is started next. An error means that
// it must not be.
func (l *startLog) begin(key string) error {
	if l.file == nil {
		return nil
	}
	if l.size >= rewriteAt {
		if err := l.rewrite(); err != nil {
			return l.abandon(err)
		}
	}
	n, err := l.file.WriteString(key + "\n")
	l.size += int64(n)
	if err != nil {
		return l.abandon(err)
	}
	return nil
}

// rewrite leaves out what is not known any more.
func (l *startLog) rewrite() error {
	var text strings.Builder
	for _, k := range l.known() {
		text.WriteString(k + "\n")
	}
	next := l.path + ".new"
	if err := os.WriteFile(next, []byte(text.String()), 0o600); err != nil {
		return err
	}
	if err := os.Rename(next, l.path); err != nil {
		return err
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_ = l.file.Close()
	l.file, l.size = f, int64(text.Len())
	return nil
}

// abandon takes the file away.
func (l *startLog) abandon(cause error) error {
	if err := os.Remove(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("note the start: %w; the notes cannot be removed either: %w", cause, err)
	}
	log.Printf("starts are not noted any more: %v", cause)
	_ = l.file.Close()
	l.file = nil
	return nil
}

// Starts tells which commands a shim that has died may have started.
type Starts struct {
	keys map[string]struct{}
	torn string // what was being written when it died
	ok   bool
}

// ReadStarts reads what the shim of an instance has noted in its directory. It is
// good for shims that have died since the host was started.
func ReadStarts(dir, instance string) Starts {
	text, err := os.ReadFile(filepath.Join(dir, startsPrefix+filepath.Base(instance)))
	if err != nil || instance == "" {
		return Starts{}
	}
	s := Starts{keys: map[string]struct{}{}, ok: true}
	end := bytes.LastIndexByte(text, '\n') + 1
	s.torn = string(text[end:])
	for key := range strings.Lines(string(text[:end])) {
		s.keys[strings.TrimSuffix(key, "\n")] = struct{}{}
	}
	return s
}

// Never reports whether the command was certainly not started.
func (s Starts) Never(key string) bool {
	_, begun := s.keys[key]
	return s.ok && !begun && (s.torn == "" || !strings.HasPrefix(key, s.torn))
}

// SweepStarts removes what shims have noted whose instances are not kept.
func SweepStarts(dir string, keep func(instance string) bool) {
	found, _ := filepath.Glob(filepath.Join(dir, startsPrefix+"*"))
	for _, path := range found {
		instance, _ := strings.CutPrefix(filepath.Base(path), startsPrefix)
		if !keep(strings.TrimSuffix(instance, ".new")) {
			_ = os.Remove(path)
		}
	}
}

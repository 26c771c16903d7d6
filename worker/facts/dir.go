package facts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/carillon-cron/carillon/job"
)

// Bounds of what is added.
const (
	// Timeout is how long a program may run.
	Timeout = 5 * time.Second
	// MaxBytes is the longest file or output, MaxValue the longest value.
	MaxBytes = 16 << 10
	MaxValue = 1024
	MaxFacts = 256
	// ErrorFact lists the files that cannot be used.
	ErrorFact = "facts_error"
)

// Dir is a directory of files that add facts.
type Dir struct {
	// Path is the directory. One that is not there has no files.
	Path string
	// Reserved are facts that files cannot change.
	Reserved map[string]string
	// Timeout is how long a program may run. Zero: Timeout.
	Timeout time.Duration
}

// Read returns what the files add, and all that is wrong with them. Programs are
// run one after the other. What was read is good also when there is an error:
// it names the files that are not in it.
func (d *Dir) Read(ctx context.Context) (map[string]string, error) {
	all := map[string]string{}
	entries, err := os.ReadDir(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return all, fmt.Errorf("directory of facts: %w", err)
	}
	var errs []error
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") {
			continue
		}
		got, err := d.file(ctx, name)
		if err == nil {
			err = d.check(got)
		}
		if err == nil && len(all)+len(got) > MaxFacts {
			err = fmt.Errorf("all files together tell more than %d facts", MaxFacts)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		maps.Copy(all, got)
	}
	return all, errors.Join(errs...)
}

// Text makes words, such as those of an error of Read, the value of a fact: one
// line of at most MaxValue bytes.
func Text(text string) string {
	text = strings.ReplaceAll(text, "\n", "; ")
	if len(text) > MaxValue {
		text = strings.ToValidUTF8(text[:MaxValue-3], "") + "..."
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return ' '
		}
		return c
	}, text)
}

// file reads one file by its kind.
func (d *Dir) file(ctx context.Context, name string) (map[string]string, error) {
	path := filepath.Join(d.Path, name)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a file")
	}
	switch ext := filepath.Ext(name); {
	case ext == ".yaml" || ext == ".yml" || ext == ".json":
		return read(path, parseTree)
	case ext == ".txt":
		return read(path, parseLines)
	case info.Mode()&0o111 != 0:
		if err := d.trusted(info); err != nil {
			return nil, err
		}
		out, err := run(ctx, path, d.Timeout)
		if err != nil {
			return nil, err
		}
		if strings.HasPrefix(strings.TrimSpace(string(out)), "{") {
			return parseTree(out)
		}
		return parseLines(out)
	}
	return nil, errors.New("is neither *.yaml, *.json or *.txt nor executable; name it accordingly, or make it executable")
}

// trusted reports why a program cannot be run: somebody else could change it.
func (d *Dir) trusted(program fs.FileInfo) error {
	dir, err := os.Stat(d.Path)
	if err != nil {
		return err
	}
	for what, info := range map[string]fs.FileInfo{"the program": program, "the directory": dir} {
		st, ok := info.Sys().(*syscall.Stat_t)
		if ok && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
			return fmt.Errorf("is not run, because %s belongs to somebody else (user %d); give it to root", what, st.Uid)
		}
		if info.Mode()&0o022 != 0 {
			return fmt.Errorf("is not run, because others can write %s (mode %04o); use chmod go-w", what, info.Mode().Perm())
		}
	}
	return nil
}

func read(path string, parse func([]byte) (map[string]string, error)) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("has more than %d bytes", MaxBytes)
	}
	return parse(b)
}

// check tells what is no fact, or one that cannot be changed.
func (d *Dir) check(got map[string]string) error {
	var errs []error
	for _, k := range slices.Sorted(maps.Keys(got)) {
		v := got[k]
		_, reserved := d.Reserved[k]
		switch {
		case job.CheckName(k) != nil:
			errs = append(errs, fmt.Errorf("name %w", job.CheckName(k)))
		case reserved || k == ErrorFact:
			errs = append(errs, fmt.Errorf("the fact %s is the minion's own; choose another name", k))
		case len(v) > MaxValue:
			errs = append(errs, fmt.Errorf("the fact %s has %d bytes; at most %d are allowed", k, len(v), MaxValue))
		case strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c == 0x7f || c == '\uFFFD' }):
			errs = append(errs, fmt.Errorf("the fact %s has characters that are no text", k))
		}
	}
	return errors.Join(errs...)
}

package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Place is where backups are kept.
type Place interface {
	// Temp makes a file that only its owner reads, in which a backup is written before it
	// is kept.
	Temp() (*os.File, error)
	// Keep keeps such a file under a name, durably: whole, or not at all. It closes and
	// removes it.
	Keep(ctx context.Context, f *os.File, name string) error
	// List returns what is kept.
	List(ctx context.Context) ([]Entry, error)
	// Begin returns the first bytes of what is kept under a name, so many at most.
	Begin(ctx context.Context, name string, bytes int) ([]byte, error)
	// Remove removes what is kept under a name.
	Remove(ctx context.Context, name string) error
	// Path is a name as people say it, with the place.
	Path(name string) string
}

// Entry is something that is kept.
type Entry struct {
	Name  string
	Bytes int64
}

// Directory is a directory as a place. It is made when the first backup is taken.
type Directory string

// Temp implements Place.
func (d Directory) Temp() (*os.File, error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, fmt.Errorf("directory of backups: %w", err)
	}
	f, err := os.CreateTemp(string(d), filePrefix+"*"+beingWritten) // of mode 0600
	if err != nil {
		return nil, fmt.Errorf("directory of backups: %w", err)
	}
	return f, nil
}

// Keep implements Place.
func (d Directory) Keep(_ context.Context, f *os.File, name string) error {
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	if err := os.Rename(f.Name(), d.Path(name)); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	dir, err := os.Open(string(d))
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// List implements Place.
func (d Directory) List(context.Context) ([]Entry, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil {
		return nil, fmt.Errorf("directory of backups: %w", err)
	}
	var out []Entry
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed just now
		}
		if err != nil {
			return nil, fmt.Errorf("directory of backups: %w", err)
		}
		out = append(out, Entry{e.Name(), info.Size()})
	}
	return out, nil
}

// Begin implements Place.
func (d Directory) Begin(_ context.Context, name string, bytes int) ([]byte, error) {
	f, err := openRegular(d.Path(name))
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, int64(bytes)))
}

// Remove implements Place.
func (d Directory) Remove(_ context.Context, name string) error { return os.Remove(d.Path(name)) }

// Path implements Place.
func (d Directory) Path(name string) string { return filepath.Join(string(d), name) }

package epoch

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// FileName is the name of the file in a data directory.
const FileName = "seen.json"

// schema is the version of the file that this release writes.
const schema = 1

// File keeps a point on the disk. Its functions must not be called at the same time.
type File struct {
	path string
	seen Point
}

// OpenFile reads the file; where there is none, nothing was seen.
func OpenFile(path string) (*File, error) {
	f := &File{path: path}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &f.seen)
	}
	if err == nil && (f.seen.Schema != schema || f.seen.Cluster == "") {
		err = fmt.Errorf("it is of schema %d, and this release reads %d", f.seen.Schema, schema)
	}
	if err != nil {
		return nil, fmt.Errorf("%s, which tells how far etcd was seen, cannot be read: %w; if it is lost, remove it: what etcd holds is believed then", path, err)
	}
	return f, nil
}

// Path is where the file is.
func (f *File) Path() string { return f.path }

// Seen is the highest point that was saved or read.
func (f *File) Seen() Point { return f.seen }

// Save makes a point durable: a crash leaves the former one or this one.
func (f *File) Save(p Point) error {
	p.Schema = schema
	if f.seen.Cluster == p.Cluster {
		p = p.Raise(f.seen) // E1
	}
	text, err := json.Marshal(p)
	if err == nil {
		err = replace(f.path, append(text, '\n'))
	}
	if err != nil {
		return fmt.Errorf("how far etcd was seen: %w", err)
	}
	f.seen = p
	return nil
}

// replace writes a file in the place of another, for its owner only.
func replace(path string, text []byte) error {
	next := path + ".next"
	file, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

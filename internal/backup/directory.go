package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/carillon-cron/carillon/internal/etcdkv"
)

// How files of backups are named: PREFIX-TIME-EPOCH-REVISION and an ending.
const (
	filePrefix   = "carillon-"
	fileEnding   = ".backup"
	agedEnding   = ".backup.age"
	etcdEnding   = ".etcd"
	fileTime     = "20060102T150405Z"
	takeTries    = 3
	beingWritten = ".part"
)

// Kept is a backup in a directory.
type Kept struct {
	Path     string    `json:"path"`
	TakenAt  time.Time `json:"takenAt"`
	Epoch    int64     `json:"epoch"`
	Revision int64     `json:"revision"`
	Bytes    int64     `json:"bytes"`
	// Encrypted: it is read with an identity of age only.
	Encrypted bool `json:"encrypted"`
	// EtcdSnapshot is etcd's own snapshot beside it; empty: there is none.
	EtcdSnapshot string `json:"etcdSnapshot,omitempty"`
}

// Wish says how a backup is taken.
type Wish struct {
	Dir     string
	Version string
	// Recipients of age, who can read it; none: it is not encrypted.
	Recipients []age.Recipient
	// EtcdSnapshot: etcd's own snapshot is put beside it. It is of all that etcd holds,
	// a little later, and never encrypted.
	EtcdSnapshot bool
}

// Create takes a backup into a directory (B2).
func Create(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys, w Wish) (k Kept, end Trailer, err error) {
	if err := os.MkdirAll(w.Dir, 0o700); err != nil {
		return k, end, fmt.Errorf("directory of backups: %w", err)
	}
	part, err := os.CreateTemp(w.Dir, filePrefix+"*"+beingWritten) // of mode 0600
	if err != nil {
		return k, end, fmt.Errorf("directory of backups: %w", err)
	}
	defer func() {
		_ = part.Close()
		if err != nil {
			_ = os.Remove(part.Name())
		}
	}()
	var head Header
	for try := 1; ; try++ {
		head, end, err = takeInto(ctx, c, keys, &w, part)
		if !errors.Is(err, ErrCompacted) || try == takeTries {
			break
		}
	}
	if err != nil {
		return k, end, err
	}
	name := filePrefix + head.TakenAt.Format(fileTime) + "-" + strconv.FormatInt(head.Epoch, 10) + "-" + strconv.FormatInt(head.Revision, 10)
	k = Kept{TakenAt: head.TakenAt, Epoch: head.Epoch, Revision: head.Revision, Encrypted: len(w.Recipients) > 0, Path: filepath.Join(w.Dir, name+fileEnding)}
	if k.Encrypted {
		k.Path = filepath.Join(w.Dir, name+agedEnding)
	}
	if k.Bytes, err = part.Seek(0, io.SeekEnd); err != nil {
		return k, end, err
	}
	if w.EtcdSnapshot {
		k.EtcdSnapshot = filepath.Join(w.Dir, name+etcdEnding)
		if err := snapshot(ctx, c, k.EtcdSnapshot); err != nil {
			return k, end, fmt.Errorf("etcd's own snapshot: %w", err)
		}
	}
	if err := keep(part, k.Path); err != nil {
		return k, end, err
	}
	return k, end, nil
}

func takeInto(ctx context.Context, c *clientv3.Client, keys etcdkv.Keys, w *Wish, f *os.File) (Header, Trailer, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Header{}, Trailer{}, err
	}
	if err := f.Truncate(0); err != nil {
		return Header{}, Trailer{}, err
	}
	if len(w.Recipients) == 0 {
		return Take(ctx, c, keys, w.Version, f)
	}
	sealed, err := age.Encrypt(f, w.Recipients...)
	if err != nil {
		return Header{}, Trailer{}, fmt.Errorf("encrypt the backup: %w", err)
	}
	h, end, err := Take(ctx, c, keys, w.Version, sealed)
	if err == nil {
		err = sealed.Close()
	}
	return h, end, err
}

// keep makes a file durable under its name.
func keep(f *os.File, path string) error {
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("write the backup: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func snapshot(ctx context.Context, c *clientv3.Client, path string) (err error) {
	in, err := c.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	f, err := os.CreateTemp(filepath.Dir(path), filePrefix+"*"+beingWritten)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := io.Copy(f, in); err != nil {
		return err
	}
	return keep(f, path)
}

// List returns the backups in a directory, the newest first. What has another name is left
// out.
func List(dir string) ([]Kept, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("directory of backups: %w", err)
	}
	var out []Kept
	for _, e := range entries {
		k, ok := parseName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed just now
		}
		if err != nil {
			return nil, fmt.Errorf("directory of backups: %w", err)
		}
		k.Path, k.Bytes = filepath.Join(dir, e.Name()), info.Size()
		beside := strings.TrimSuffix(strings.TrimSuffix(k.Path, agedEnding), fileEnding) + etcdEnding
		if _, err := os.Stat(beside); err == nil {
			k.EtcdSnapshot = beside
		}
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b Kept) int {
		return cmp.Or(b.TakenAt.Compare(a.TakenAt), cmp.Compare(b.Epoch, a.Epoch), cmp.Compare(b.Revision, a.Revision))
	})
	return out, nil
}

func parseName(name string) (k Kept, ok bool) {
	rest, ok := strings.CutPrefix(name, filePrefix)
	if !ok {
		return k, false
	}
	if rest, k.Encrypted = strings.CutSuffix(rest, agedEnding); !k.Encrypted {
		if rest, ok = strings.CutSuffix(rest, fileEnding); !ok {
			return k, false
		}
	}
	parts := strings.Split(rest, "-")
	if len(parts) != 3 {
		return k, false
	}
	var err1, err2, err3 error
	k.TakenAt, err1 = time.Parse(fileTime, parts[0])
	k.Epoch, err2 = strconv.ParseInt(parts[1], 10, 64)
	k.Revision, err3 = strconv.ParseInt(parts[2], 10, 64)
	return k, err1 == nil && err2 == nil && err3 == nil
}

// Prune removes backups, with what lies beside them, but the newest few. It returns what it
// removed, or would with dryRun.
func Prune(dir string, newest int, dryRun bool) ([]Kept, error) {
	all, err := List(dir)
	if err != nil {
		return nil, err
	}
	if len(all) <= newest {
		return nil, nil
	}
	old := all[newest:]
	for _, k := range old {
		if dryRun {
			continue
		}
		err := os.Remove(k.Path)
		if err == nil && k.EtcdSnapshot != "" {
			err = os.Remove(k.EtcdSnapshot)
		}
		if err != nil {
			return nil, fmt.Errorf("remove a backup: %w", err)
		}
	}
	return old, nil
}

// Open opens a file, with an identity of age where it is encrypted.
func Open(path string, identities []age.Identity) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	first := make([]byte, len(magic))
	n, err := io.ReadFull(f, first)
	if _, again := f.Seek(0, io.SeekStart); again != nil {
		return nil, errors.Join(again, f.Close())
	}
	if err == nil && string(first[:n]) == magic || !strings.HasPrefix(string(first[:n]), "age-encryption") {
		return f, nil
	}
	if len(identities) == 0 {
		return nil, errors.Join(fmt.Errorf("%s is encrypted: give --age-identity FILE", path), f.Close())
	}
	opened, err := age.Decrypt(f, identities...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
	}
	return &unsealed{opened, f}, nil
}

// unsealed reads what is decrypted, and closes the file.
type unsealed struct {
	io.Reader
	io.Closer
}

package backup

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
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
	// agedMagic is how what is encrypted begins.
	agedMagic = "age-encryption"
	// clockLead is how far the clock of who took a backup may be ahead.
	clockLead = time.Hour
)

// Kept is a backup that is kept somewhere.
type Kept struct {
	// Path is where it is: a file, or s3://BUCKET/NAME.
	Path     string    `json:"path"`
	TakenAt  time.Time `json:"takenAt"`
	Epoch    int64     `json:"epoch"`
	Revision int64     `json:"revision"`
	Bytes    int64     `json:"bytes"`
	// Encrypted: it is read with an identity of age only.
	Encrypted bool `json:"encrypted"`
	// EtcdSnapshot is etcd's own snapshot beside it; empty: there is none.
	EtcdSnapshot string `json:"etcdSnapshot,omitempty"`

	// Damaged is why it is none, whatever its name says; empty: it begins as one. It counts
	// neither as the newest nor among those that are kept.
	Damaged string `json:"damaged,omitempty"`

	name, beside string
}

// Source writes a backup. It may be asked again when that fails with ErrCompacted.
type Source func(ctx context.Context, w io.Writer) (Header, Trailer, error)

// FromEtcd takes a backup of what etcd holds.
func FromEtcd(c *clientv3.Client, keys etcdkv.Keys, version string) Source {
	return func(ctx context.Context, w io.Writer) (Header, Trailer, error) { return Take(ctx, c, keys, version, w) }
}

// FromStream takes a backup that somebody else reads from etcd. One that is not whole is an
// ErrCompacted: whoever reads it can only break off when that befalls it.
func FromStream(open func(ctx context.Context) (io.ReadCloser, error)) Source {
	return func(ctx context.Context, w io.Writer) (Header, Trailer, error) {
		in, err := open(ctx)
		if err != nil {
			return Header{}, Trailer{}, err
		}
		defer func() { _ = in.Close() }() // it was read to its end, or is of no use
		h, end, err := Read(io.TeeReader(in, w), nil)
		if errors.Is(err, ErrDamaged) && ctx.Err() == nil {
			err = fmt.Errorf("%w, or the connection broke off: %w", ErrCompacted, err)
		}
		return h, end, err
	}
}

// Wish says how a backup is taken.
type Wish struct {
	To Place
	// Recipients of age, who can read it; none: it is not encrypted.
	Recipients []age.Recipient
	// EtcdSnapshot gives etcd's own snapshot, which is put beside it: it is of all that
	// etcd holds, a little later, and never encrypted. Nil: none is.
	EtcdSnapshot func(ctx context.Context) (io.ReadCloser, error)
}

// Create takes a backup into a place (B2).
func Create(ctx context.Context, from Source, w Wish) (k Kept, end Trailer, err error) {
	part, err := w.To.Temp()
	if err != nil {
		return k, end, err
	}
	defer func() {
		_ = part.Close()
		if err != nil {
			_ = os.Remove(part.Name())
		}
	}()
	var head Header
	for try := 1; ; try++ {
		head, end, err = takeInto(ctx, from, &w, part)
		if !errors.Is(err, ErrCompacted) || try == takeTries {
			break
		}
	}
	if err != nil {
		return k, end, err
	}
	name := filePrefix + head.TakenAt.UTC().Format(fileTime) + "-" + strconv.FormatInt(head.Epoch, 10) + "-" + strconv.FormatInt(head.Revision, 10)
	k = Kept{TakenAt: head.TakenAt, Epoch: head.Epoch, Revision: head.Revision, Encrypted: len(w.Recipients) > 0, name: name + fileEnding}
	if k.Encrypted {
		k.name = name + agedEnding
	}
	if k.Bytes, err = part.Seek(0, io.SeekEnd); err != nil {
		return k, end, err
	}
	if w.EtcdSnapshot != nil {
		k.beside = name + etcdEnding
		if err := snapshot(ctx, &w, k.beside); err != nil {
			return k, end, fmt.Errorf("etcd's own snapshot: %w", err)
		}
		k.EtcdSnapshot = w.To.Path(k.beside)
	}
	k.Path = w.To.Path(k.name)
	return k, end, w.To.Keep(ctx, part, k.name)
}

func takeInto(ctx context.Context, from Source, w *Wish, f *os.File) (Header, Trailer, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Header{}, Trailer{}, err
	}
	if err := f.Truncate(0); err != nil {
		return Header{}, Trailer{}, err
	}
	if len(w.Recipients) == 0 {
		return from(ctx, f)
	}
	sealed, err := age.Encrypt(f, w.Recipients...)
	if err != nil {
		return Header{}, Trailer{}, fmt.Errorf("encrypt the backup: %w", err)
	}
	h, end, err := from(ctx, sealed)
	if err == nil {
		err = sealed.Close()
	}
	return h, end, err
}

func snapshot(ctx context.Context, w *Wish, name string) (err error) {
	in, err := w.EtcdSnapshot(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	f, err := w.To.Temp()
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
	return w.To.Keep(ctx, f, name)
}

// List returns the backups in a place, the newest first, by a clock that says now. What has
// another name is left out.
func List(ctx context.Context, at Place, now time.Time) ([]Kept, error) {
	entries, err := at.List(ctx)
	if err != nil {
		return nil, err
	}
	var out []Kept
	for _, e := range entries {
		k, ok := parseName(e.Name)
		if !ok {
			continue
		}
		k.name, k.Path, k.Bytes = e.Name, at.Path(e.Name), e.Bytes
		beside := strings.TrimSuffix(strings.TrimSuffix(e.Name, agedEnding), fileEnding) + etcdEnding
		if slices.ContainsFunc(entries, func(o Entry) bool { return o.Name == beside }) {
			k.beside, k.EtcdSnapshot = beside, at.Path(beside)
		}
		k.Damaged, err = damage(ctx, at, &k, now)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // removed just now
		case err != nil:
			return nil, err
		}
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b Kept) int {
		return cmp.Or(b.TakenAt.Compare(a.TakenAt), cmp.Compare(b.Epoch, a.Epoch), cmp.Compare(b.Revision, a.Revision))
	})
	return out, nil
}

// damage is what shows at once that something is no backup, or not of the time in its name.
func damage(ctx context.Context, at Place, k *Kept, now time.Time) (string, error) {
	if k.TakenAt.Sub(now) > clockLead {
		return "its name says a time to come", nil
	}
	want := magic
	if k.Encrypted {
		want = agedMagic
	}
	begin, err := at.Begin(ctx, k.name, len(want))
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "this account cannot read it", nil
	case err != nil:
		return "", err
	case string(begin) != want:
		return "it does not begin as a backup", nil
	}
	return "", nil
}

// Sound returns those of a list that are not damaged.
func Sound(all []Kept) []Kept {
	return slices.DeleteFunc(slices.Clone(all), func(k Kept) bool { return k.Damaged != "" })
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

// Prune removes backups, with what lies beside them, but the newest few. What is damaged stays
// and does not count. It returns what it removed, or would with dryRun.
func Prune(ctx context.Context, at Place, newest int, dryRun bool, now time.Time) ([]Kept, error) {
	all, err := List(ctx, at, now)
	if err != nil {
		return nil, err
	}
	all = Sound(all)
	if len(all) <= newest {
		return nil, nil
	}
	old := all[newest:]
	for _, k := range old {
		if dryRun {
			continue
		}
		err := at.Remove(ctx, k.name)
		if err == nil && k.beside != "" {
			err = at.Remove(ctx, k.beside)
		}
		if err != nil {
			return nil, fmt.Errorf("remove a backup: %w", err)
		}
	}
	return old, nil
}

// Open opens a file, with an identity of age where it is encrypted.
func Open(path string, identities []age.Identity) (io.ReadCloser, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	return Unseal(f, path, identities)
}

// openRegular opens a file that is one. A pipe would be waited for.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Unseal reads a backup, with an identity of age where it is encrypted. It closes what it
// is given.
func Unseal(in io.ReadCloser, what string, identities []age.Identity) (io.ReadCloser, error) {
	buffered := bufio.NewReader(in)
	first, err := buffered.Peek(len(magic))
	if err == nil && string(first) == magic || !strings.HasPrefix(string(first), agedMagic) {
		return &unsealed{buffered, in}, nil
	}
	if len(identities) == 0 {
		return nil, errors.Join(fmt.Errorf("%s is encrypted: give --age-identity FILE", what), in.Close())
	}
	opened, err := age.Decrypt(buffered, identities...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", what, err), in.Close())
	}
	return &unsealed{opened, in}, nil
}

// unsealed reads what is decrypted, and closes the file.
type unsealed struct {
	io.Reader
	io.Closer
}

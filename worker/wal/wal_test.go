package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func open(t interface{ Fatal(...any) }, path string) (*Log, []string, Opened) {
	var got []string
	l, info, err := Open(path, func(p []byte) error { got = append(got, string(p)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return l, got, info
}

func add(t interface{ Fatal(...any) }, l *Log, records ...string) {
	var last Batch
	for _, r := range records {
		b, err := l.Append([]byte(r))
		if err != nil {
			t.Fatal(err)
		}
		last = b
	}
	if err := l.Sync(last); err != nil {
		t.Fatal(err)
	}
}

// Appends, syncs, rewrites and crashes in any order: what was synced is there,
// in order, and what was not is there as a prefix or not at all.
func TestI1I2I3I4_Model(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		path := filepath.Join(root, fmt.Sprint(runs))
		l, _, _ := open(t, path)
		var synced, queued []string
		var last Batch
		n := 0
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				n++
				r := fmt.Sprint(n, rapid.StringN(0, 20, -1).Draw(t, "payload"))
				b, err := l.Append([]byte(r))
				if err != nil {
					t.Fatal(err)
				}
				queued, last = append(queued, r), b
			},
			"sync": func(t *rapid.T) {
				if err := l.Sync(last); err != nil {
					t.Fatal(err)
				}
				synced, queued = append(synced, queued...), nil
			},
			"rewrite": func(t *rapid.T) {
				all := append(append([]string(nil), synced...), queued...)
				keep := all[rapid.IntRange(0, len(all)).Draw(t, "from"):]
				if err := l.Rewrite(func(emit func([]byte) error) error {
					for _, r := range keep {
						if err := emit([]byte(r)); err != nil {
							return err
						}
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				synced, queued = append([]string(nil), keep...), nil
			},
			// A crash leaves any part of what was being written.
			"crash": func(t *rapid.T) {
				var tail []byte
				for _, r := range queued {
					tail = frame(tail, []byte(r))
				}
				cut := rapid.IntRange(0, len(tail)).Draw(t, "cut")
				_ = l.file.Close()
				f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = f.Write(tail[:cut])
				_ = f.Close()
				var got []string
				l, got, _ = open(t, path)
				all := append(append([]string(nil), synced...), queued...)
				if len(got) < len(synced) || len(got) > len(all) {
					t.Fatalf("%d records, want %d to %d", len(got), len(synced), len(all))
				}
				if diff := cmp.Diff(all[:len(got)], got); diff != "" && len(got) > 0 {
					t.Fatal(diff)
				}
				synced, queued, last = got, nil, 0
			},
		})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		_, got, info := open(t, path)
		if len(got) != len(synced)+len(queued) || info.Torn+info.Damaged != 0 {
			t.Fatalf("%d records after close, want %d; %+v", len(got), len(synced)+len(queued), info)
		}
	})
}

func TestI3_DamageInTheMiddle(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	l, _, _ := open(t, path)
	add(t, l, "one", "two", "three", "four")
	_ = l.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[bytes.Index(data, []byte("two"))] ^= 1
	data = binary.LittleEndian.AppendUint32(data, magic) // and a torn tail
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	l, got, info := open(t, path)
	if diff := cmp.Diff([]string{"one", "three", "four"}, got); diff != "" {
		t.Error(diff)
	}
	if info.Damaged != headerSize+3 || info.Torn != 4 || info.Records != 3 {
		t.Errorf("info = %+v", info)
	}
	add(t, l, "five")
	_ = l.Close()
	if _, got, _ = open(t, path); len(got) != 4 || got[3] != "five" {
		t.Errorf("got %q", got)
	}
}

// Many writers: every Sync that returns finds its record on disk.
func TestI1_GroupCommit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	l, _, _ := open(t, path)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				r := fmt.Sprintf("<%d.%d>", w, i)
				b, err := l.Append([]byte(r))
				if err == nil {
					err = l.Sync(b)
				}
				if err != nil {
					t.Error(err)
					return
				}
				data, err := os.ReadFile(path)
				if err != nil || !bytes.Contains(data, []byte(r)) {
					t.Errorf("%s is not in the file after Sync", r)
					return
				}
			}
		})
	}
	wg.Wait()
	_ = l.Close()
	if _, got, _ := open(t, path); len(got) != 400 {
		t.Errorf("%d records, want 400", len(got))
	}
}

// A write that fails takes the batch back for all who wait; later ones work.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	l, _, _ := open(t, path)
	add(t, l, "one")
	l.writeAt = func(f *os.File, p []byte, at int64) (int, error) {
		n, _ := f.WriteAt(p[:len(p)/2], at)
		return n, syscall.ENOSPC
	}
	b1, _ := l.Append([]byte("two"))
	b2, _ := l.Append([]byte("three"))
	for _, b := range []Batch{b1, b2} {
		if err := l.Sync(b); !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrClosed) {
			t.Fatalf("sync = %v, want ENOSPC for everyone who waits", err)
		}
	}
	l.writeAt = (*os.File).WriteAt
	add(t, l, "four")
	_ = l.Close()
	if _, got, _ := open(t, path); len(got) != 2 || got[1] != "four" {
		t.Errorf("got %q, want one and four", got)
	}
}

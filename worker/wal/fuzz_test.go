package wal

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
)

// FuzzOpen: whatever lies in the file, it can be opened, what was read is read
// again, and what is appended is durable (I1, I2, I3).
func FuzzOpen(f *testing.F) {
	good := frame(frame(nil, []byte("one")), []byte("two"))
	f.Add([]byte{})
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(append([]byte("torn"), good...))
	f.Add(append(append(frame(nil, nil), good[3:]...), good...))
	fuzzed.Run(f, func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		var first, second [][]byte
		keep := func(to *[][]byte) func([]byte) error {
			return func(p []byte) error { *to = append(*to, bytes.Clone(p)); return nil }
		}
		l, info, err := Open(path, keep(&first))
		if err != nil {
			t.Fatal(err)
		}
		if info.Records != len(first) || info.Torn+info.Damaged > int64(len(content)) {
			t.Errorf("%d records, %+v", len(first), info)
		}
		b, err := l.Append([]byte("last"))
		if err == nil {
			err = l.Sync(b)
		}
		if err == nil {
			err = l.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		again, info2, err := Open(path, keep(&second))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = again.Close() }()
		if info2.Torn != 0 || info2.Damaged != info.Damaged || len(second) != len(first)+1 || string(second[len(first)]) != "last" {
			t.Fatalf("after an append: %d records, %+v, before %d, %+v", len(second), info2, len(first), info)
		}
		for i := range first {
			if !bytes.Equal(first[i], second[i]) {
				t.Errorf("record %d is another one", i)
			}
		}
	})
}

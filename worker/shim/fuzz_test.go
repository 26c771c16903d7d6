package shim

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/carillon-cron/carillon/internal/testkit/fuzzed"
	"github.com/carillon-cron/carillon/worker/wal"
)

// FuzzExitLog: whatever the records of the log are, the shim starts, tells what
// can be read, and keeps to it when it writes the log anew (I2).
func FuzzExitLog(f *testing.F) {
	good, err := json.Marshal(Ended{Key: "k", Code: 3, StartedAt: 1, EndedAt: 2, Stdout: Part{Head: []byte("x"), Bytes: 1}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, good)
	f.Add(good, []byte("no JSON"))
	f.Add([]byte(`{"key":"","code":1e3}`), []byte(`{"key":7}`))
	f.Add([]byte(`null`), []byte(`{"key":"a","stdout":null}`))
	fuzzed.Run(f, func(t *testing.T, a, b []byte) {
		path := filepath.Join(t.TempDir(), "exits")
		l, _, err := wal.Open(path, func([]byte) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range [][]byte{a, b} {
			if _, err := l.Append(p); err != nil {
				t.Skip(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		x, _, err := openExitLog(path)
		if err != nil {
			t.Fatal(err)
		}
		mine := Ended{Key: "mine", Code: 1}
		if err := x.add(mine); err != nil {
			t.Fatal(err)
		}
		if err := x.rewrite(); err != nil {
			t.Fatal(err)
		}
		want := x.kept
		if err := x.close(); err != nil {
			t.Fatal(err)
		}
		again, info, err := openExitLog(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = again.close() }()
		if info.Damaged != 0 || len(again.kept) > len(want) || len(again.kept) == 0 {
			t.Errorf("%+v: kept %d of %d", info, len(again.kept), len(want))
		}
		for k, e := range again.kept {
			if d := cmp.Diff(want[k], e); d != "" {
				t.Errorf("%q: %s", k, d)
			}
		}
	})
}

// FuzzFrame: whatever comes over the socket is a request or an error.
func FuzzFrame(f *testing.F) {
	var buf bytes.Buffer
	if err := writeFrame(&buf, request{Start: []Spec{{Key: "k", Path: "/bin/true", Args: []string{"true"}}}, Kill: []Kill{{Key: "k"}}, Forget: []string{"k"}, Leave: true}); err != nil {
		f.Fatal(err)
	}
	f.Add(buf.Bytes())
	f.Add(buf.Bytes()[:buf.Len()-1])
	f.Add(binary.BigEndian.AppendUint32(nil, maxFrame+1))
	f.Add([]byte{0, 0, 0, 4, 'n', 'u', 'l', 'l'})
	fuzzed.Run(f, func(t *testing.T, in []byte) {
		if len(in) >= 4 && binary.BigEndian.Uint32(in) > 1<<20 && binary.BigEndian.Uint32(in) <= maxFrame {
			return // only slow
		}
		var q request
		if err := readFrame(bufio.NewReader(bytes.NewReader(in)), &q); err != nil {
			return
		}
		var out bytes.Buffer
		if err := writeFrame(&out, q); err != nil {
			t.Fatal(err)
		}
		var back request
		if err := readFrame(bufio.NewReader(&out), &back); err != nil {
			t.Fatal(err)
		}
	})
}

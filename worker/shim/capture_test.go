package shim

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"syscall"

	"pgregory.net/rapid"
)

// Wherever the disk gets full, and whether or not it stays so: the file is whole
// frames of a beginning of the output, and head, tail and count are not touched.
func TestFullDiskTruncatesOutput(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(root, "out")
		c := newCapture(path, 1<<20)
		room := rapid.IntRange(0, 3000).Draw(t, "room")
		heals := rapid.Bool().Draw(t, "heals")
		c.writeTo = func(f *os.File, p []byte) (int, error) {
			n, _ := f.Write(p[:min(len(p), room)])
			if room -= n; n < len(p) {
				if heals {
					room = 1 << 20
				}
				return n, syscall.ENOSPC
			}
			return n, nil
		}
		var all []byte
		for i := range rapid.IntRange(1, 8).Draw(t, "writes") {
			p := make([]byte, rapid.IntRange(1, 900).Draw(t, "length"))
			for k := range p {
				p[k] = byte('a' + i)
			}
			c.write(Stdout, p)
			all = append(all, p...)
		}
		out, _ := c.close()
		if out.Bytes != int64(len(all)) || string(out.Head)+string(out.Tail) != string(all[:min(len(all), 2*partSize)]) {
			t.Fatalf("the report's part has %d of %d bytes", out.Bytes, len(all))
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		dropped := int64(0)
		for len(data) > 0 {
			if len(data) < OutputFrameHeader || len(data) < OutputFrameHeader+int(binary.BigEndian.Uint32(data[1:])) {
				t.Fatal("a torn frame was left")
			}
			n := OutputFrameHeader + int(binary.BigEndian.Uint32(data[1:]))
			if data[0] == Stdout {
				got = append(got, data[OutputFrameHeader:n]...)
			} else {
				dropped = int64(binary.BigEndian.Uint64(data[OutputFrameHeader:n])) //nolint:gosec // a count
			}
			data = data[n:]
		}
		if string(got) != string(all[:len(got)]) {
			t.Fatal("the file is not the beginning of the output")
		}
		if missing := int64(len(all) - len(got)); heals && dropped != missing || dropped != 0 && dropped != missing {
			t.Fatalf("%d bytes are missing, and the file says %d", missing, dropped)
		}
	})
}

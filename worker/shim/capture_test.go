package shim

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"syscall"

	"pgregory.net/rapid"
)

// TestEachStreamHasItsOwnBudget: a flood on one stream takes nothing from the other;
// of each the file has the beginning, how much is left out, and the tail.
func TestEachStreamHasItsOwnBudget(t *testing.T) {
	t.Parallel()
	for _, first := range []int{Stdout, Stderr} {
		path := filepath.Join(t.TempDir(), "out")
		c := newCapture(path, 100_000)
		all := map[int][]byte{}
		write := func(stream, n int, with byte) {
			p := bytes.Repeat([]byte{with}, n)
			c.write(stream, p)
			all[stream] = append(all[stream], p...)
		}
		other := Stdout + Stderr - first
		for range 100 {
			write(first, 32_000, 'a')
		}
		write(other, 10_000, 'b')
		write(first, 1000, 'c')
		write(other, 100_000, 'd')
		write(other, 7, 'e')
		c.close()
		data, err := os.ReadFile(path)
		if err != nil || len(data) > 100_000+2*(partSize+3*OutputFrameHeader+8) {
			t.Fatalf("%d bytes, %v", len(data), err)
		}
		for stream, got := range framesOf(t, data) {
			want := all[stream]
			if n := len(got.head); n < 20_000 || !bytes.HasPrefix(want, got.head) || !bytes.HasSuffix(want, got.tail) || len(got.tail) != partSize ||
				int64(n)+got.left+int64(len(got.tail)) != int64(len(want)) {
				t.Errorf("flood on %d, stream %d: %d bytes, %d left out, %d at the end; of %d", first, stream, n, got.left, len(got.tail), len(want))
			}
		}
	}
}

// kept is what an output file has of a stream.
type kept struct {
	head, tail []byte
	left       int64
}

func framesOf(t *testing.T, data []byte) map[int]kept {
	t.Helper()
	out := map[int]kept{}
	for len(data) > 0 {
		n := OutputFrameHeader + int(binary.BigEndian.Uint32(data[1:]))
		stream := int(data[0] &^ StreamDropped)
		k := out[stream]
		switch {
		case data[0]&StreamDropped != 0:
			k.left = int64(binary.BigEndian.Uint64(data[OutputFrameHeader:n]))
		case k.left > 0:
			k.tail = append(k.tail, data[OutputFrameHeader:n]...)
		default:
			k.head = append(k.head, data[OutputFrameHeader:n]...)
		}
		out[stream], data = k, data[n:]
	}
	return out
}

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
				dropped = int64(binary.BigEndian.Uint64(data[OutputFrameHeader:n]))
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

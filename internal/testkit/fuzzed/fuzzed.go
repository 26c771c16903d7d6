// Package fuzzed runs fuzz tests within every run of the tests: for a moment each, on
// changed copies of their corpora. go test -fuzz finds more, as it sees which code an input
// reaches, but needs each package compiled anew, and minutes for each test.
package fuzzed

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	// moment is for how long a test is run on changed inputs.
	moment = 400 * time.Millisecond
	// most bounds how many there are of them, for what is very quick.
	most = 2_000
	// longest bounds a text or a list of bytes.
	longest = 4 << 10
	// seedVariable is the variable of the environment that has another seed: a run has the
	// same inputs each time without it, so that a change of nothing is not red.
	seedVariable = "CARILLON_FUZZ_SEED"
)

// Run is f.Fuzz(fn), and calls fn besides on what is made of the corpus under testdata/fuzz.
// fn must not skip. A failure tells the input; the seed that goes with it does the same again.
func Run(f *testing.F, fn any) {
	f.Helper()
	if isFuzzing() {
		f.Fuzz(fn)
		return
	}
	corpus, err := readCorpus(filepath.Join("testdata", "fuzz", f.Name()), reflect.TypeOf(fn))
	if err != nil {
		f.Fatal(err)
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(f.Name())) // a hash takes all
	seed := h.Sum64()
	if given := os.Getenv(seedVariable); given != "" {
		if seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			f.Fatalf("%s: %v", seedVariable, err)
		}
	}
	call, done := reflect.ValueOf(fn), false
	f.Fuzz(reflect.MakeFunc(call.Type(), func(args []reflect.Value) []reflect.Value {
		if !done { // with the first of the corpus
			done = true
			t, ok := args[0].Interface().(*testing.T)
			if ok {
				loop(t, call, corpus, seed)
			}
		}
		return call.Call(args)
	}).Interface())
}

func isFuzzing() bool {
	for _, name := range []string{"test.fuzz", "test.fuzzworker"} {
		if v := flag.Lookup(name); v != nil && v.Value.String() != "" && v.Value.String() != "false" {
			return true
		}
	}
	return false
}

// loop calls fn on changed inputs until one fails.
func loop(t *testing.T, fn reflect.Value, corpus [][]reflect.Value, seed uint64) {
	t.Helper()
	c := newChanger(corpus, seed)
	n := 0
	var now []reflect.Value
	defer func() {
		if r := recover(); r != nil {
			panic(fmt.Sprintf("%v\n\nby %s (changed input %d; %s=%d)", r, told(now), n, seedVariable, seed))
		}
		if t.Failed() {
			t.Logf("by %s (changed input %d; %s=%d)", told(now), n, seedVariable, seed)
		}
	}()
	for began := time.Now(); n < most && time.Since(began) < moment && !t.Failed(); n++ {
		now = c.next()
		fn.Call(append([]reflect.Value{reflect.ValueOf(t)}, now...))
	}
}

// told writes an input as a file of a corpus has it.
func told(values []reflect.Value) string {
	all := make([]string, len(values))
	for i, v := range values {
		switch {
		case v.Kind() == reflect.Slice:
			all[i] = fmt.Sprintf("[]byte(%q)", v.Bytes())
		case v.Kind() == reflect.String:
			all[i] = fmt.Sprintf("string(%q)", v.String())
		default:
			all[i] = fmt.Sprintf("%s(%v)", v.Type(), v.Interface())
		}
	}
	return strings.Join(all, " ")
}

// readCorpus reads the files of a corpus.
func readCorpus(dir string, fn reflect.Type) ([][]reflect.Value, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("a fuzz test has a corpus that is committed: %w", err)
	}
	var out [][]reflect.Value
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(dir, file.Name()))
		if err != nil {
			return nil, err
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")[1:]
		if len(lines) != fn.NumIn()-1 {
			return nil, fmt.Errorf("%s has %d values, and the test takes %d", file.Name(), len(lines), fn.NumIn()-1)
		}
		values := make([]reflect.Value, len(lines))
		for i, line := range lines {
			if values[i], err = parse(line, fn.In(i+1)); err != nil {
				return nil, fmt.Errorf("%s: %w", file.Name(), err)
			}
		}
		out = append(out, values)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: a fuzz test has a corpus that is committed", dir)
	}
	return out, nil
}

// parse reads a line of a file of a corpus, as in string("a").
func parse(line string, of reflect.Type) (reflect.Value, error) {
	_, text, ok := strings.Cut(strings.TrimSuffix(line, ")"), "(")
	v := reflect.New(of).Elem()
	var err error
	switch of.Kind() {
	case reflect.String, reflect.Slice:
		if text, err = strconv.Unquote(text); err == nil {
			v.Set(reflect.ValueOf(text).Convert(of))
		}
	case reflect.Bool:
		var b bool
		b, err = strconv.ParseBool(text)
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var n int64
		n, err = strconv.ParseInt(text, 10, of.Bits())
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		var n uint64
		n, err = strconv.ParseUint(text, 10, of.Bits())
		v.SetUint(n)
	default:
		ok = false
	}
	switch {
	case !ok:
		return v, fmt.Errorf("%q is no %s", line, of)
	case err != nil:
		return v, fmt.Errorf("%q is no %s: %w", line, of, err)
	}
	return v, nil
}

// changer makes inputs of others.
type changer struct {
	rand   *rand.Rand
	corpus [][]reflect.Value
	// words are pieces of the corpus, and what parsers trip over.
	words []string
}

func newChanger(corpus [][]reflect.Value, seed uint64) *changer {
	c := &changer{rand: rand.New(rand.NewPCG(seed, 0)), corpus: corpus, words: []string{
		"", "\x00", "\n", "\r\n", "\t", " ", "{", "}", "[", "]", "(", ")", "\"", "'", "\\", "/", ":", ",", "-", "*", "&", "#", "%", "$", "<", ">", "=", ";", "|", "..",
		"0", "-1", "9223372036854775807", "9223372036854775808", "1e400", "NaN", "null", "true", "é", "\u202e", "\xff", "\xf0\x9f", strings.Repeat("a", 300), strings.Repeat("[", 200),
	}}
	for _, values := range corpus {
		for _, v := range values {
			if text, ok := textOf(v); ok {
				for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \n\t,;:\"'{}[]()=", r) }) {
					if len(word) < 64 && len(c.words) < 2000 {
						c.words = append(c.words, word)
					}
				}
			}
		}
	}
	return c
}

func textOf(v reflect.Value) (string, bool) {
	switch v.Kind() {
	case reflect.String:
		return v.String(), true
	case reflect.Slice:
		return string(v.Bytes()), true
	}
	return "", false
}

// next returns an input: one of the corpus, with some of its values changed.
func (c *changer) next() []reflect.Value {
	from := c.corpus[c.rand.IntN(len(c.corpus))]
	out := make([]reflect.Value, len(from))
	copy(out, from)
	for range 1 + c.rand.IntN(len(out)) {
		i := c.rand.IntN(len(out))
		out[i] = c.change(out[i], i)
	}
	for i, v := range out { // a test may write to what it gets
		if v.Kind() == reflect.Slice {
			out[i] = reflect.ValueOf(append([]byte{}, v.Bytes()...)).Convert(v.Type())
		}
	}
	return out
}

func (c *changer) change(v reflect.Value, place int) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	text, ok := textOf(v)
	switch {
	case ok:
		b := []byte(text)
		for range 1 + c.rand.IntN(4) {
			b = c.edit(b, place)
		}
		out.Set(reflect.ValueOf(b).Convert(v.Type()))
	case v.Kind() == reflect.Bool:
		out.SetBool(c.rand.IntN(2) == 0)
	case v.CanInt():
		out.SetInt(int64(c.number(uint64(v.Int())))) // any number will do
	case v.CanUint():
		out.SetUint(c.number(v.Uint()))
	}
	return out
}

// number returns another number than n; a type that is smaller takes its lowest bits.
func (c *changer) number(n uint64) uint64 {
	switch c.rand.IntN(4) {
	case 0:
		return n + uint64(c.rand.IntN(33)) - 16
	case 1:
		return n ^ 1<<c.rand.IntN(64)
	case 2:
		return [...]uint64{0, 1, 1<<63 - 1, 1 << 63, 1<<64 - 1, 1 << 31, 1 << 32}[c.rand.IntN(7)]
	}
	return c.rand.Uint64()
}

// edit makes one change to a text.
func (c *changer) edit(b []byte, place int) []byte {
	at := c.rand.IntN(len(b) + 1)
	end := at + c.rand.IntN(len(b)-at+1)
	short := min(end, at+1+c.rand.IntN(8), len(b))
	switch c.rand.IntN(8) {
	case 0: // a bit
		if at < len(b) {
			b[at] ^= 1 << c.rand.IntN(8)
		}
	case 1: // a byte
		if at < len(b) {
			b[at] = byte(c.rand.IntN(256)) // below 256
		}
	case 2: // less of it
		b = append(b[:at:at], b[short:]...)
	case 3: // without a long piece
		b = append(b[:at:at], b[end:]...)
	case 4: // a piece twice
		b = append(b[:end:end], b[at:]...)
	case 5: // its beginning, and the end of another one
		other, _ := textOf(c.corpus[c.rand.IntN(len(c.corpus))][place])
		b = append(b[:at:at], other[c.rand.IntN(len(other)+1):]...)
	case 6: // a word in place of a piece
		b = append(b[:at:at], c.words[c.rand.IntN(len(c.words))]+string(b[short:])...)
	default: // a word
		b = append(b[:at:at], c.words[c.rand.IntN(len(c.words))]+string(b[at:])...)
	}
	return b[:min(len(b), longest)]
}

package shared_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/carillon-cron/carillon/handler/shared"
)

// memory is an Asker over values in memory.
type memory struct{ shared.Values }

func (m *memory) Ask(_ context.Context, r shared.Request) (shared.Answer, error) {
	return m.Do(&r), nil
}

// TestValues: entries are as a map with versions would have them, which rise, and bounds are
// kept to.
func TestValues(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var v shared.Values
		model := map[string]string{}
		versions := map[string]int64{}
		last := int64(0)
		wrote := func(a shared.Answer, key, value string) {
			if a.Code != shared.CodeOK || a.Version <= last {
				t.Fatalf("%+v after version %d", a, last)
			}
			last, versions[key], model[key] = a.Version, a.Version, value
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			key := rapid.SampledFrom([]string{"a", "b", "a/b", "c"}).Draw(t, "key")
			value := rapid.SampledFrom([]string{"", "1", "-7", "text", strconv.Itoa(1 << 40)}).Draw(t, "value")
			was, found := model[key]
			switch op := rapid.SampledFrom([]string{shared.OpGet, shared.OpSet, shared.OpCAS, shared.OpDelete, shared.OpIncr, shared.OpList, shared.OpWatch}).Draw(t, "op"); op {
			case shared.OpGet:
				a := v.Do(&shared.Request{Op: op, Key: key})
				if (a.Code == shared.CodeOK) != found || a.Value != was || a.Version != versions[key] {
					t.Fatalf("get %s: %+v, want %q", key, a, was)
				}
			case shared.OpSet:
				wrote(v.Do(&shared.Request{Op: op, Key: key, Value: value}), key, value)
			case shared.OpCAS:
				guess := rapid.Int64Range(0, last+1).Draw(t, "version")
				a := v.Do(&shared.Request{Op: op, Key: key, Value: value, Version: guess})
				if guess == versions[key] {
					wrote(a, key, value)
				} else if a.Code != shared.CodeConflict || a.Version != versions[key] || a.Value != was {
					t.Fatalf("cas %s: %+v", key, a)
				}
			case shared.OpDelete:
				a := v.Do(&shared.Request{Op: op, Key: key})
				if (a.Code == shared.CodeOK) != found {
					t.Fatalf("delete %s: %+v", key, a)
				}
				if found {
					last = a.Version
				}
				delete(model, key)
				delete(versions, key)
			case shared.OpIncr:
				a := v.Do(&shared.Request{Op: op, Key: key, Delta: 2})
				n, err := strconv.ParseInt(was, 10, 64)
				if found && err != nil {
					if a.Code != shared.CodeRefused {
						t.Fatalf("incr of %q: %+v", was, a)
					}
					continue
				}
				wrote(a, key, strconv.FormatInt(n+2, 10))
			case shared.OpList:
				a := v.Do(&shared.Request{Op: op, Key: "a"})
				var got []string
				for _, e := range a.Entries {
					if got = append(got, e.Key); e.Value != model[e.Key] {
						t.Fatalf("list: %+v", e)
					}
				}
				want := slices.DeleteFunc(slices.Sorted(maps.Keys(model)), func(k string) bool { return !strings.HasPrefix(k, "a") })
				if !slices.Equal(got, want) {
					t.Fatalf("list: %q, want %q", got, want)
				}
			case shared.OpWatch:
				if a := v.Do(&shared.Request{Op: op, Key: key, Version: versions[key]}); a.Code != shared.CodeAgain {
					t.Fatalf("watch: %+v", a)
				}
				if a := v.Do(&shared.Request{Op: op, Key: key, Version: versions[key] + 1}); a.Code != shared.CodeOK || a.Version != versions[key] {
					t.Fatalf("watch of another version: %+v", a)
				}
			}
		}
	})
}

// TestBounds: there are only so many keys and bytes, and counters do not wrap.
func TestBounds(t *testing.T) {
	t.Parallel()
	m := &memory{}
	s := shared.New(m)
	ctx := t.Context()
	for i := range shared.MaxKeys {
		if _, err := s.Set(ctx, "k"+strconv.Itoa(i), ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Set(ctx, "more", ""); !errors.Is(err, shared.ErrFull) {
		t.Errorf("a key too many: %v", err)
	}
	big := strings.Repeat("x", shared.MaxValue)
	var err error
	n := 0
	for ; err == nil && n < shared.MaxKeys; n++ {
		_, err = s.Set(ctx, "k"+strconv.Itoa(n), big)
	}
	if !errors.Is(err, shared.ErrFull) || n*shared.MaxValue > shared.MaxBytes+shared.MaxValue {
		t.Errorf("%d values of %d bytes: %v", n, shared.MaxValue, err)
	}
	if _, err := s.Set(ctx, "k0", "less"); err != nil {
		t.Errorf("a value that becomes smaller: %v", err)
	}
	if _, err := s.Set(ctx, "k1", "9223372036854775807"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Incr(ctx, "k1", 1); !errors.Is(err, shared.ErrRefused) {
		t.Errorf("a counter beyond its end: %v", err)
	}
	for name, err := range map[string]error{
		"a key with a space": func() error { _, err := s.Set(ctx, "a b", "v"); return err }(),
		"no key":             s.Delete(ctx, ""),
		"no text":            func() error { _, err := s.Set(ctx, "k", "\xff"); return err }(),
		"a barrier for -1":   s.Barrier(ctx, "b", shared.Tasks(-1)),
	} {
		if !errors.Is(err, shared.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package fair

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// ring is a job in tests, stub a fire of it.
type ring struct{ queue Queue[*stub] }

type stub struct {
	of   *ring
	item Item[*stub]
}

func newStub(of *ring) *stub {
	f := &stub{of: of}
	f.item.Of = f
	return f
}

// wait has one wait for its turn.
func wait(l *Line[*stub], of *ring) *stub {
	f := newStub(of)
	l.Add(&of.queue, &f.item)
	return f
}

// The fires of a job have their turns in their order, none is lost or comes twice,
// and no job waits for longer than the bound (I23).
func TestI23_TurnsAreFair(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var l Line[*stub]
		jobs := make([]*ring, rapid.IntRange(1, 20).Draw(t, "jobs"))
		want := map[*ring][]*stub{}
		since := map[*ring]int{}
		for i := range jobs {
			jobs[i] = &ring{}
		}
		count := 0
		for turn := range rapid.IntRange(1, 4000).Draw(t, "turns") {
			if rapid.IntRange(0, 2).Draw(t, "do") == 0 {
				e := rapid.SampledFrom(jobs).Draw(t, "job")
				f := wait(&l, e)
				if len(want[e]) == 0 {
					since[e] = turn
				}
				want[e] = append(want[e], f)
				count++
				continue
			}
			f, ok := l.Next()
			if ok != (count > 0) || l.Any() != (count > 0 && (count > 1 || !ok)) {
				t.Fatalf("%v is next, %d wait", f, count)
			}
			if !ok {
				continue
			}
			count--
			if want[f.of][0] != f {
				t.Fatal("a later fire of a job comes first")
			}
			want[f.of] = want[f.of][1:]
			since[f.of] = turn
			for e, at := range since {
				if waits := turn - at; len(want[e]) > 0 && waits > 6*letIn {
					t.Fatalf("a job has waited for %d turns", waits)
				}
			}
		}
	})
}

// A job that comes while a herd waits has its turn soon; a job with many fires has
// one turn while others have theirs (I23).
func TestI23_AHerdHoldsUpNobody(t *testing.T) {
	t.Parallel()
	var l Line[*stub]
	for range 5000 {
		wait(&l, &ring{})
	}
	for range 100 {
		l.Next()
	}
	many := &ring{}
	for range 50 {
		wait(&l, many)
	}
	late := wait(&l, &ring{})
	var turns []*stub
	for range 100 {
		f, _ := l.Next()
		turns = append(turns, f)
	}
	if i := slices.Index(turns, late); i < 0 || i > 1 {
		t.Errorf("the job that came last has turn %d", i)
	}
	n := 0
	for _, f := range turns {
		if f.of == many {
			n++
		}
	}
	if n != 1 {
		t.Errorf("a job with 50 fires had %d of 100 turns while thousands waited", n)
	}
}

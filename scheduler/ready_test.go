package scheduler

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// The fires of a job have their turns in their order, none is lost or comes twice,
// and no job waits for longer than the bound (I23).
func TestI23_TurnsAreFair(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var r ready
		jobs := make([]*entry, rapid.IntRange(1, 20).Draw(t, "jobs"))
		want := map[*entry][]*fire{}
		since := map[*entry]int{}
		for i := range jobs {
			jobs[i] = &entry{}
		}
		count := 0
		for turn := range rapid.IntRange(1, 4000).Draw(t, "turns") {
			if rapid.IntRange(0, 2).Draw(t, "do") == 0 {
				e := rapid.SampledFrom(jobs).Draw(t, "job")
				f := &fire{e: e}
				r.add(f)
				if len(want[e]) == 0 {
					since[e] = turn
				}
				want[e] = append(want[e], f)
				count++
				continue
			}
			f := r.next()
			if (f == nil) != (count == 0) || r.any() != (count > 0 && (count > 1 || f == nil)) {
				t.Fatalf("%v is next, %d wait", f, count)
			}
			if f == nil {
				continue
			}
			count--
			if want[f.e][0] != f {
				t.Fatal("a later fire of a job comes first")
			}
			want[f.e] = want[f.e][1:]
			since[f.e] = turn
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
	var r ready
	for range 5000 {
		r.add(&fire{e: &entry{}})
	}
	for range 100 {
		r.next()
	}
	many := &entry{}
	for range 50 {
		r.add(&fire{e: many})
	}
	late := &fire{e: &entry{}}
	r.add(late)
	var turns []*fire
	for range 100 {
		turns = append(turns, r.next())
	}
	if i := slices.Index(turns, late); i < 0 || i > 1 {
		t.Errorf("the job that came last has turn %d", i)
	}
	n := 0
	for _, f := range turns {
		if f.e == many {
			n++
		}
	}
	if n != 1 {
		t.Errorf("a job with 50 fires had %d of 100 turns while thousands waited", n)
	}
}

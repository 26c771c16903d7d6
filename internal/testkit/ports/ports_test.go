package ports

import "testing"

// TestReservedOnce: no two reservations share a port. Each has an
// open file of its own, as one in another process has.
func TestReservedOnce(t *testing.T) {
	t.Parallel()
	const each = 400 // so many that some would be the same by chance
	seen := map[int]bool{}
	for range 3 {
		r, err := Reserve(each)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Release()
		if len(r.Ports) != each {
			t.Fatalf("%d ports, want %d", len(r.Ports), each)
		}
		for _, p := range r.Ports {
			if seen[p] {
				t.Fatalf("port %d is reserved twice", p)
			}
			seen[p] = true
		}
	}
}

func TestTooMany(t *testing.T) {
	t.Parallel()
	if r, err := Reserve(1001); err == nil {
		r.Release()
		t.Error("more ports than are looked for")
	}
}

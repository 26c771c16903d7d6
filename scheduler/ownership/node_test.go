package ownership

import "testing"

// What is free is claimed by who ought to hold it, and nobody takes a shard from an owner
// that answers. What this lease holds is gone on with, whoever ought to hold it, and
// passed on only where it may be moved.
func TestWhatIsDoneAboutAShard(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		s    standing
		want verb
	}{
		"free, and its own":                       {standing{want: "me"}, claimIt},
		"free, and another's":                     {standing{want: "other"}, leaveIt},
		"free, and nobody's":                      {standing{}, leaveIt},
		"held by another":                         {standing{owner: "other", want: "other"}, leaveIt},
		"its own, and held by another":            {standing{owner: "other", want: "me", move: true}, leaveIt},
		"its own, and held by one that is dead":   {standing{owner: "other", want: "me", suspect: true}, seizeIt},
		"another's, and held by one that is dead": {standing{owner: "other", want: "third", suspect: true}, leaveIt},
		"on an earlier lease of its own":          {standing{owner: "me", want: "me"}, leaveIt},
		"passed to it":                            {standing{owner: "me", want: "me", mine: true}, adoptIt},
		"passed to it, and another's by now":      {standing{owner: "me", want: "other", mine: true, move: true}, adoptIt},
		"its own, and run":                        {standing{owner: "me", want: "me", mine: true, busy: true, move: true}, leaveIt},
		"another's, and run":                      {standing{owner: "me", want: "other", mine: true, busy: true, move: true}, passIt},
		"another's, and not to be moved":          {standing{owner: "me", want: "other", mine: true, busy: true}, leaveIt},
		"nobody's, and run":                       {standing{owner: "me", mine: true, busy: true, move: true}, leaveIt},
	} {
		c.s.me = "me"
		if got := c.s.verb(); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

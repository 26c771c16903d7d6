package caller

import (
	"context"
	"testing"
)

// Who is not proven to be anybody may have any name, and none of those by which records
// show who is.
func TestNamesOfWhoIsNotProven(t *testing.T) {
	t.Parallel()
	unknown, nobodyLooked := With(context.Background(), Caller{Remote: "192.0.2.7"}), context.Background()
	for said, want := range map[string]string{
		"":                          "",
		"ann":                       "ann",
		"ann@web1":                  "ann@web1",
		"tokens":                    "tokens",
		"nodejs deployer":           "nodejs deployer",
		"root (socket)":             "root (socket) (not proven)",
		"ROOT  ( Socket ) ":         "ROOT  ( Socket )  (not proven)",
		"root\u200b (soc\u200bket)": "root\u200b (soc\u200bket) (not proven)",
		"ada (etcd)":                "ada (etcd) (not proven)",
		"token ci":                  "token ci (not proven)",
		"token\u00a0ci":             "token\u00a0ci (not proven)",
		"node n1":                   "node n1 (not proven)",
		"bootstrap token":           "bootstrap token (not proven)",
		"others":                    "others (not proven)",
	} {
		if got := Of(unknown, said); got != want {
			t.Errorf("%q: recorded as %q, want %q", said, got, want)
		}
		if got := Of(nobodyLooked, said); got != said {
			t.Errorf("%q, said by Carillon itself: recorded as %q", said, got)
		}
	}
	if got := Of(With(context.Background(), Caller{Name: "token ci"}), "root (socket)"); got != "token ci" {
		t.Errorf("who is proven is recorded as %q", got)
	}
}

// What minions' lists are held against is proven, or says that it is not.
func TestSubjects(t *testing.T) {
	t.Parallel()
	unknown := With(context.Background(), Caller{Remote: "192.0.2.7"})
	for said, want := range map[string]string{"": "", "ann": "ann (not proven)", "ada@example.org": "ada@example.org (not proven)"} {
		if got := Subject(unknown, said); got != want {
			t.Errorf("%q: the subject is %q, want %q", said, got, want)
		}
	}
	if got := Subject(With(context.Background(), Caller{Name: "token ci"}), "ann"); got != "token ci" {
		t.Errorf("who is proven is the subject %q", got)
	}
}

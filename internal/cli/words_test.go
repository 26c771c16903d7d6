package cli

import (
	"slices"
	"strings"
	"testing"
)

func TestWordsAsMeant(t *testing.T) {
	t.Parallel()
	a := newApp(Options{})
	root := a.root()
	for given, want := range map[string]string{
		"get job/backup":                   "get jobs backup",
		"get jobs/backup":                  "get jobs backup",
		"get Job/team/backup -o json":      "get jobs team/backup -o json",
		"get job/a job/b team/c":           "get jobs a b team/c",
		"get -n team job/a":                "get -n team jobs a",
		"-n team get -A j":                 "-n team get -A jobs",
		"--namespace=team get gro":         "--namespace=team get groups",
		"get hg":                           "get hostgroups",
		"get cal":                          "get calendars",
		"get RB":                           "get rolebindings",
		"get mi":                           "get minions",
		"get no -o wide":                   "get nodes -o wide",
		"get -l team=db jo":                "get -l team=db jobs",
		"get r --sort-by state":            "get runs --sort-by state",
		"get ro":                           "get ro", // roles or rolebindings
		"get jbos":                         "get jbos",
		"get unknown/a":                    "get unknown/a",
		"get jobs team/backup":             "get jobs team/backup",
		"describe j/backup":                "describe job backup",
		"describe gr ledger":               "describe group ledger",
		"describe minion/web-1":            "describe minion web-1",
		"delete job/a job/b --yes":         "delete job a b --yes",
		"delete -f job/a":                  "delete -f job/a",
		"pause job/backup":                 "pause backup",
		"pause group/ledger":               "pause group ledger",
		"resume Group/ledger --reason x/y": "resume group ledger --reason x/y",
		"pause j/backup":                   "pause j/backup", // a namespace
		"pause job/job/backup":             "pause job/backup",
		"enable jobs/a b":                  "enable a b",
		"run job/backup --param a/b=c/d":   "run backup --param a/b=c/d",
		"run team/backup":                  "run team/backup",
		"enable group/a":                   "enable group/a", // a namespace: groups are not enabled
		"logs -f job/backup":               "logs -f backup",
		"apply -f job/a":                   "apply -f job/a",
		"exec -- get job/a":                "exec -- get job/a",
		"":                                 "",
	} {
		got, err := asMeant(root, strings.Fields(given))
		if err != nil || !slices.Equal(got, strings.Fields(want)) {
			t.Errorf("%s: want %s, got %q, %v", given, want, got, err)
		}
	}
	if _, err := asMeant(root, strings.Fields("delete job/a group/b")); err == nil || !strings.Contains(err.Error(), "job and group are two kinds") {
		t.Errorf("two kinds: %v", err)
	}
}

func TestSeveralNames(t *testing.T) {
	t.Parallel()
	for args, c := range map[string]struct {
		code           int
		stdout, stderr string
	}{
		"get job/backup job/team/report -o name":             {0, "default/backup\nteam/report\n", ""},
		"get jobs backup nope --no-headers -o name":          {exitNotFound, "default/backup\n", "job default/nope: not found"},
		"get hg canary frontend -o name":                     {0, "canary\nfrontend\n", ""},
		"get nodes n1 n3 -o name":                            {exitNotFound, "n1\n", `there is no node "n3"`},
		"get minion/web-1 -o name":                           {0, "web-1\n", ""},
		"describe job backup team/report -o name":            {0, "default/backup\nteam/report\n", ""},
		"describe job nope team/report -o name":              {exitNotFound, "\nteam/report\n"[1:], "job default/nope: not found"},
		"enable backup team/report":                          {0, "job default/backup enabled\njob team/report enabled\n", ""},
		"pause job/backup job/team/report -o name":           {0, "default/backup\nteam/report\n", ""},
		"pause group/ledger group/team/turns -o name":        {0, "default/ledger\nteam/turns\n", ""},
		"get jobs backup team/report -o jsonpath={[*].name}": {0, "backup report\n", ""},
	} {
		f := withExamples(newFake(t))
		got := carillon(t.Context(), f, "", strings.Fields(args)...)
		if got.code != c.code || got.stdout != c.stdout || !strings.Contains(got.stderr, c.stderr) {
			t.Errorf("%s: want %+v, got\n%s", args, c, got)
		}
	}
}

func TestNamesAlreadyGivenAreNotCompleted(t *testing.T) {
	t.Parallel()
	f := withExamples(newFake(t))
	if got := carillon(t.Context(), f, "", "__complete", "describe", "job", "other", ""); !strings.HasPrefix(got.stdout, "backup\t") {
		t.Errorf("a second name: got\n%s", got)
	}
	if got := carillon(t.Context(), f, "", "__complete", "describe", "job", "backup", ""); strings.Contains(got.stdout, "backup") {
		t.Errorf("the same name: got\n%s", got)
	}
}

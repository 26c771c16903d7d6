package cli

import (
	"slices"
	"strings"

	"github.com/carillon-cron/carillon/internal/manifest"
	"github.com/carillon-cron/carillon/job"
)

// kindWords are the words by which people call a kind: one, many, and in short.
func kindWords(kind string) []string {
	one := strings.ToLower(kind)
	words := []string{one, one + "s"}
	switch kind {
	case job.KindDefaults:
		words = []string{one, "default"}
	case job.KindJob:
		words = append(words, "j")
	case job.KindGroup:
		words = append(words, "gr")
	case job.KindHostGroup:
		words = append(words, "host-group", "host-groups", "hg")
	case job.KindCalendar:
		words = append(words, "cal")
	case job.KindQueue:
		words = append(words, "q")
	case job.KindNotifier:
		words = append(words, "no")
	case job.KindScript:
		words = append(words, "sc")
	case job.KindRoleBinding:
		words = append(words, "role-binding", "role-bindings", "rb")
	}
	return words
}

// kindNamed returns the kind that a word means, in whatever case: one of its words, or
// what only one kind's words begin with.
func kindNamed(word string) (string, error) {
	lower := strings.ToLower(word)
	var known, all, begun []string
	for _, kind := range manifest.Kinds() {
		words := kindWords(kind)
		if slices.Contains(words, lower) {
			return kind, nil
		}
		if len(lower) > 1 && slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, lower) }) {
			begun = append(begun, kind)
		}
		known, all = append(known, words[0]), append(all, words...)
	}
	if len(begun) == 1 {
		return begun[0], nil
	}
	return "", usagef("unknown kind %q%s; there are %s", word, didYouMean(lower, all), strings.Join(known, ", "))
}

// thingNamed reads KIND/NAME, KIND/NAMESPACE/NAME, or the two words KIND NAME.
func (ca *call) thingNamed(args []string) (thing, error) {
	word, name, _ := strings.Cut(args[0], "/")
	if len(args) == 2 {
		word, name = args[0], args[1]
	}
	kind, err := kindNamed(word)
	if err != nil {
		return thing{}, err
	}
	key, err := ca.keyOf(strings.ToLower(kind), name)
	if err != nil {
		return thing{}, err
	}
	return thingOf(kind, key.Namespace, key.Name), nil
}

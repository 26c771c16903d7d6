package caller

import (
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/carillon-cron/carillon/internal/rights"
)

// Caller is who asks. The zero value is somebody of whom nothing is known.
type Caller struct {
	// Name is how records show the caller: "ada", "token ci", "root (socket)",
	// "ada (etcd)". Empty: nothing is proven, and what requests say of themselves counts.
	Name string
	// Subjects are all that bindings may know the caller as.
	Subjects []rights.Subject
	// Remote is where the request comes from: an address, "socket" or
	// "etcd".
	Remote string
	// Provider is the identity provider that has told who it is. Empty: none has.
	Provider string
	// Token and Session are the keys of what was shown. Empty: none was.
	Token, Session string
	// Until is when what was shown ends at the latest. Zero: it does not by itself.
	Until time.Time
	// Local is set for root and the node's own account over the local socket, and for
	// programs that have etcd. They may do everything, in no role and by no binding: they can write etcd.
	Local bool
}

// Known reports whether anything is proven of the caller.
func (c *Caller) Known() bool { return c.Name != "" }

type callerKey struct{}

// With returns a context of requests of c.
func With(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// From returns who asks; false: nobody looked.
func From(ctx context.Context) (Caller, bool) {
	c, ok := ctx.Value(callerKey{}).(Caller)
	return c, ok
}

// Of returns the name of who asks: the proven one, or else who it says it is, but never
// in a form in which records show who is proven.
func Of(ctx context.Context, said string) string {
	c, ok := From(ctx)
	switch {
	case ok && c.Known():
		return c.Name
	case ok && looksProven(said):
		return said + notProven
	}
	return said
}

// Subject returns the name of who asks as minions' lists know it: the proven one, or else
// what it says of itself, which never is one that somebody else has proven.
func Subject(ctx context.Context, said string) string {
	c, ok := From(ctx)
	switch {
	case ok && c.Known():
		return c.Name
	case ok && said != "":
		return said + notProven
	}
	return said
}

// notProven follows the name of whoever claims to be somebody that others prove to be.
const notProven = " (not proven)"

// looksProven reports whether records show somebody by such a name who is proven, or
// Carillon itself, to who does not look at signs and blanks.
func looksProven(said string) bool {
	name := strings.Join(strings.FieldsFunc(strings.Map(printed, said), func(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsDigit(c) }), " ")
	for _, first := range []string{"token", "node", "bootstrap", "identity provider"} {
		if strings.HasPrefix(name+" ", first+" ") {
			return true
		}
	}
	return name == "others" || strings.HasSuffix(" "+name, " socket") || strings.HasSuffix(" "+name, " etcd")
}

// printed is a letter as it is compared; what is not printed is left out.
func printed(c rune) rune {
	if !unicode.IsPrint(c) && !unicode.IsSpace(c) {
		return -1
	}
	return unicode.ToLower(c)
}

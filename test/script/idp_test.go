package script

import (
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/carillon-cron/carillon/internal/testkit/idptest"
)

// idpKey is where a script keeps its identity provider.
type idpKey struct{}

// startIDP starts an identity provider that knows some people, each NAME or
// NAME:GROUP,GROUP, and sets ISSUER. The secret of its client is in the file oidc-secret.
func startIDP(ts *testscript.TestScript, neg bool, people []string) {
	usage(ts, !neg && len(people) > 0, "idp NAME[:GROUP,...]...")
	var users []idptest.User
	for _, text := range people {
		name, groups, _ := strings.Cut(text, ":")
		u := idptest.User{Name: name}
		if groups != "" {
			u.Groups = strings.Split(groups, ",")
		}
		users = append(users, u)
	}
	p, err := idptest.New(users...)
	ts.Check(err)
	ts.Defer(p.Close)
	*ts.Value(idpKey{}).(**idptest.Provider) = p
	ts.Setenv("ISSUER", p.Issuer)
	ts.Check(os.WriteFile(ts.MkAbs("oidc-secret"), []byte(idptest.Secret+"\n"), 0o600))
}

func idpOf(ts *testscript.TestScript) *idptest.Provider {
	p := *ts.Value(idpKey{}).(**idptest.Provider)
	if p == nil {
		ts.Fatalf("there is no identity provider: begin with idp")
	}
	return p
}

// signIn has the provider take each browser for somebody's.
func signIn(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "signin NAME")
	idpOf(ts).SignIn(args[0])
}

// confirm waits for a login by a code, and confirms it.
func (w waits) confirm(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "confirm NAME")
	p := idpOf(ts)
	w.poll(ts, func() string {
		if !p.Confirm(args[0]) {
			return "nobody has begun a login by a code"
		}
		return ""
	})
}

// signOut has the provider end the sessions of somebody, and tell it.
func signOut(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 3, "signout NAME URL STATUS")
	token, err := idpOf(ts).LogoutToken(args[0])
	ts.Check(err)
	got, err := idptest.SendLogout(args[1], token)
	ts.Check(err)
	if strconv.Itoa(got) != args[2] {
		ts.Fatalf("it answers %d (%s), want %s", got, http.StatusText(got), args[2])
	}
}

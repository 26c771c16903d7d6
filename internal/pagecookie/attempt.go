package pagecookie

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
	"time"
)

const (
	// ProviderPath begins a login by the identity provider; CallbackPath is where it sends
	// the browser back to, and BackChannelPath where it tells that sessions have ended.
	ProviderPath    = LoginPath + "/provider"
	CallbackPath    = LoginPath + "/callback"
	BackChannelPath = LoginPath + "/backchannel"
)

const (
	// attemptLife is how long a login may take.
	attemptLife = 10 * time.Minute
	// mostAttempts is how many a browser may have begun at a time.
	mostAttempts = 8
	// maxNext bounds where a reader wanted to go.
	maxNext = 1024
	// short is how much of the state a cookie is named by.
	short = 10
)

// Attempt is a login that a browser has begun.
type Attempt struct {
	State, Nonce, Verifier string
	// Next is where the reader wanted to go.
	Next string
}

// NewAttempt returns a login that begins.
func NewAttempt(next string) Attempt {
	if len(next) > maxNext {
		next = "/"
	}
	return Attempt{State: secret(), Nonce: secret(), Verifier: secret(), Next: next}
}

func secret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails: see crypto/rand
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// Challenge is the SHA-256 of the verifier.
func (a Attempt) Challenge() string {
	sum := sha256.Sum256([]byte(a.Verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func attemptPrefix(r *http.Request) string { return name(r) + "-login-" }

// SetAttempt has the browser keep a login that it begins.
func SetAttempt(w http.ResponseWriter, r *http.Request, a Attempt) {
	n := 0
	for _, c := range r.Cookies() {
		if strings.HasPrefix(c.Name, attemptPrefix(r)) {
			if n++; n >= mostAttempts {
				forget(w, r, c.Name)
			}
		}
	}
	c := cookie(r, attemptPrefix(r)+a.State[:short])
	c.Value = strings.Join([]string{a.State, a.Nonce, a.Verifier, base64.RawURLEncoding.EncodeToString([]byte(a.Next))}, ".")
	c.MaxAge = int(attemptLife / time.Second)
	http.SetCookie(w, c)
}

// TakeAttempt returns the login of a state that the browser has begun, which it forgets;
// false: it has begun none.
func TakeAttempt(w http.ResponseWriter, r *http.Request, state string) (Attempt, bool) {
	if len(state) < short {
		return Attempt{}, false
	}
	c, err := r.Cookie(attemptPrefix(r) + state[:short])
	if err != nil {
		return Attempt{}, false
	}
	forget(w, r, c.Name)
	part := strings.Split(c.Value, ".")
	if len(part) != 4 || subtle.ConstantTimeCompare([]byte(part[0]), []byte(state)) != 1 {
		return Attempt{}, false
	}
	next, err := base64.RawURLEncoding.DecodeString(part[3])
	return Attempt{State: part[0], Nonce: part[1], Verifier: part[2], Next: string(next)}, err == nil && part[1] != "" && part[2] != ""
}

func forget(w http.ResponseWriter, r *http.Request, name string) {
	c := cookie(r, name)
	c.MaxAge = -1
	http.SetCookie(w, c)
}

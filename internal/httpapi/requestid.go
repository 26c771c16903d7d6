package httpapi

import (
	"crypto/rand"
	"net/http"
	"strings"
	"unicode"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
)

const (
	// maxRequestID bounds the id that a client gives a request.
	maxRequestID = 64
	// maxBy and maxReason bound what a request says of itself.
	maxBy, maxReason = 256, 1024
)

// named gives a request its id, tells it in the answer, and keeps with the request what
// the audit is to know of it.
func (a *API) named(w http.ResponseWriter, r *http.Request) *http.Request {
	id := r.Header.Get(api.RequestIDHeader)
	if !isRequestID(id) {
		id = rand.Text()
	}
	w.Header().Set(api.RequestIDHeader, id)
	return r.WithContext(caller.WithRequest(r.Context(), caller.Request{
		ID: id, From: remote(r), By: ownWord(r, api.ByHeader, maxBy), Reason: ownWord(r, api.ReasonHeader, maxReason),
		IfMatch: generation(r), Key: r.Header.Get(api.KeyHeader),
	}))
}

// isRequestID reports whether a client's id can be kept as it is.
func isRequestID(id string) bool {
	return id != "" && len(id) <= maxRequestID && strings.IndexFunc(id, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", c)
	}) < 0
}

// ownWord is a header's text, as far as it is one: what is not printed is left out.
func ownWord(r *http.Request, header string, most int) string {
	text := strings.Map(func(c rune) rune {
		if c == unicode.ReplacementChar || !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, r.Header.Get(header))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return text
}

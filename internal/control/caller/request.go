package caller

import (
	"context"
	"errors"
	"fmt"
)

// Request is what is known of a request besides who asks. The zero Request is none:
// Carillon does something by itself.
type Request struct {
	// ID names the request.
	ID string
	// From is the address that it comes from, where no Caller says so.
	From string
	// By and Reason are who asks and why, in the client's own words, of a request that
	// has no other place for them.
	By, Reason string
	// IfMatch is the generation that what is changed has to have; 0: whatever it has. One
	// that no thing has (-1) stands for what is not a generation.
	IfMatch int64
	// Key names a start: with the same key it starts nothing again.
	Key string
}

// ErrChanged is a change of what has been changed by others meanwhile: its generation is
// not the one that the request names.
var ErrChanged = errors.New("changed meanwhile")

// Unchanged returns an ErrChanged where a request names another generation.
func Unchanged(ctx context.Context, what string, generation int64) error {
	if want := RequestOf(ctx).IfMatch; want != 0 && want != generation {
		return fmt.Errorf("%s has generation %d now, which is not what If-Match names: %w", what, generation, ErrChanged)
	}
	return nil
}

type requestKey struct{}

// WithRequest returns a context of a request.
func WithRequest(ctx context.Context, r Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// RequestOf returns the request that ctx is of.
func RequestOf(ctx context.Context) Request {
	r, _ := ctx.Value(requestKey{}).(Request)
	return r
}

package caller

import "context"

type callerKey struct{}

// With returns a context of requests of an account, as the connection
// proves it. What they say of themselves does not count then.
func With(ctx context.Context, account string) context.Context {
	return context.WithValue(ctx, callerKey{}, account)
}

// Of returns who asks: the proven account, or else who it says it is.
func Of(ctx context.Context, said string) string {
	if account, ok := ctx.Value(callerKey{}).(string); ok {
		return account
	}
	return said
}

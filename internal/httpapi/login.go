package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/internal/control/caller"
)

type loginInput struct{ Body loginBody }

type loginBody struct {
	Redirect  string `json:"redirect" maxLength:"256" doc:"Where the browser comes back to: http://127.0.0.1:PORT/callback, at which the command listens."`
	State     string `json:"state" maxLength:"128" doc:"Comes back with the answer; 22 or more random characters."`
	Nonce     string `json:"nonce" maxLength:"128" doc:"Is given again when the login is finished; 22 or more random characters."`
	Challenge string `json:"challenge" maxLength:"128" doc:"The SHA-256 of the verifier, in base64url without padding."`
}

type loginAnswerInput struct{ Body loginAnswerBody }

type loginAnswerBody struct {
	Code     string `json:"code" maxLength:"8192" doc:"The code that the browser came back with."`
	Issuer   string `json:"issuer,omitempty" maxLength:"1024" doc:"The issuer that it came back with (iss)."`
	Redirect string `json:"redirect" maxLength:"256" doc:"As at the beginning."`
	Nonce    string `json:"nonce" maxLength:"128" doc:"As at the beginning."`
	Verifier string `json:"verifier" maxLength:"128" doc:"What the challenge at the beginning was made of."`
}

type deviceInput struct{ Body deviceBody }

type deviceBody struct {
	Code string `json:"code" minLength:"1" maxLength:"8192" doc:"The code by which the login is finished, as it was told at the beginning."`
}

// loginRoutes are logins of the command line by the identity provider.
func (a *API) loginRoutes(doc huma.API) {
	errs := []int{http.StatusConflict, http.StatusUnprocessableEntity}
	huma.Register(doc, operation(http.MethodGet, "/v1/auth/login", "login-ways", "How one may log in besides by a token"),
		func(context.Context, *struct{}) (*reply[api.LoginWays], error) {
			return answer(a.control.LoginWays(), nil)
		})
	huma.Register(doc, operation(http.MethodPost, "/v1/auth/login", "begin-login", "Begin a login by a browser on the same host; it is finished by the code that the browser comes back with", errs...),
		func(ctx context.Context, in *loginInput) (*reply[api.LoginURL], error) {
			b := &in.Body
			v, err := a.control.BeginLogin(ctx, api.LoginRequest{Redirect: b.Redirect, State: b.State, Nonce: b.Nonce, Challenge: b.Challenge})
			return answer(v, err)
		})
	huma.Register(doc, operation(http.MethodPost, "/v1/auth/login/finish", "finish-login", "Finish a login by a browser; the token of it is given this once", errs...),
		func(ctx context.Context, in *loginAnswerInput) (*reply[api.Login], error) {
			b := &in.Body
			v, err := a.control.FinishLogin(ctx, api.LoginAnswer{Code: b.Code, Issuer: b.Issuer, Redirect: b.Redirect, Nonce: b.Nonce, Verifier: b.Verifier})
			return a.noted(ctx, v, err)
		})
	huma.Register(doc, operation(http.MethodPost, "/v1/auth/device-login", "begin-device-login", "Begin a login that is confirmed on another device", errs...),
		func(ctx context.Context, _ *struct{}) (*reply[api.DeviceLogin], error) {
			v, err := a.control.BeginDeviceLogin(ctx)
			return answer(v, err)
		})
	huma.Register(doc, operation(http.MethodPost, "/v1/auth/device-login/finish", "finish-device-login", "Finish a login that is confirmed on another device, or learn that it is not yet; the token of it is given once", errs...),
		func(ctx context.Context, in *deviceInput) (*reply[api.Login], error) {
			v, err := a.control.FinishDeviceLogin(ctx, in.Body.Code)
			return a.noted(ctx, v, err)
		})
	end := operation(http.MethodDelete, "/v1/auth/session", "end-session", "End the login by which the request comes", http.StatusConflict)
	end.DefaultStatus = http.StatusNoContent
	huma.Register(doc, end, func(ctx context.Context, _ *struct{}) (*struct{}, error) {
		return done(a.control.EndSession(ctx))
	})
}

// noted is answer, and has the audit count a login that was refused.
func (a *API) noted(ctx context.Context, v api.Login, err error) (*reply[api.Login], error) {
	if errors.As(err, new(*caller.RefusedError)) {
		a.control.Refused(ctx, "log in", "as somebody", err.Error())
	}
	return answer(v, err)
}

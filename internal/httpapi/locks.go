package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

type lockPath struct {
	Namespace string `path:"ns" doc:"The lock's namespace."`
	Name      string `path:"name" doc:"The lock's name."`
}

func (p lockPath) key() job.Key { return job.Key{Namespace: p.Namespace, Name: p.Name} }

type locksInput struct {
	Namespace string `query:"namespace" doc:"Only locks of this namespace."`
}

type locksBody struct {
	Locks []api.Lock `json:"locks" nullable:"false"`
}

type openInput struct {
	Body struct {
		Holder string  `json:"holder" doc:"Who holds what the session locks; shown to others, after the name of who opens it, where that is known."`
		TTL    float64 `json:"ttl" doc:"Seconds that the session lives without a renewal."`
	}
}

type renewInput struct {
	Body struct {
		Session   string `json:"session" doc:"The session."`
		Namespace string `json:"namespace,omitempty" doc:"Namespace of a lock to tell about."`
		Name      string `json:"name,omitempty" doc:"Name of a lock to tell about."`
		Place     string `json:"place,omitempty" doc:"The client's place in that lock's queue."`
	}
}

type closeInput struct {
	Body struct {
		Session string `json:"session" doc:"The session."`
	}
}

// lockInput spells the path out: huma does not fill embedded fields that are
// not exported.
type lockInput struct {
	Namespace string `path:"ns" doc:"The lock's namespace."`
	Name      string `path:"name" doc:"The lock's name."`
	Body      api.LockRequest
}

type breakInput struct {
	Namespace string `path:"ns" doc:"The lock's namespace."`
	Name      string `path:"name" doc:"The lock's name."`
	Body      struct {
		Token  string `json:"token" doc:"The token of the hold that is to be broken."`
		By     string `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
		Reason string `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
	}
}

func (a *API) lockRoutes(doc huma.API) {
	huma.Register(doc, operation(http.MethodGet, "/v1/locks", "list-locks", "Locks that somebody holds or waits for"),
		func(ctx context.Context, in *locksInput) (*reply[locksBody], error) {
			locks, err := a.control.Locks(ctx, in.Namespace)
			return answer(locksBody{some(locks)}, err)
		})
	huma.Register(doc, operation(http.MethodPost, "/v1/lock-sessions", "open-lock-session", "Open a session to hold locks by", http.StatusUnprocessableEntity),
		func(ctx context.Context, in *openInput) (*reply[api.LockSession], error) {
			s, err := a.control.OpenLockSession(ctx, in.Body.Holder, time.Duration(in.Body.TTL*float64(time.Second)))
			return answer(s, err)
		})
	huma.Register(doc, operation(http.MethodPost, "/v1/lock-sessions/renew", "renew-lock-session", "Keep a session alive", http.StatusNotFound),
		func(ctx context.Context, in *renewInput) (*reply[api.LockRenewal], error) {
			r, err := a.control.RenewLockSession(ctx, in.Body.Session, job.Key{Namespace: in.Body.Namespace, Name: in.Body.Name}, in.Body.Place)
			return answer(r, err)
		})
	end := operation(http.MethodPost, "/v1/lock-sessions/close", "close-lock-session", "End a session and free what it holds", http.StatusNotFound)
	end.DefaultStatus = http.StatusNoContent
	huma.Register(doc, end, func(ctx context.Context, in *closeInput) (*struct{}, error) {
		return done(a.control.CloseLockSession(ctx, in.Body.Session))
	})

	const one = "/v1/namespaces/{ns}/locks/{name}"
	huma.Register(doc, operation(http.MethodGet, one, "get-lock", "Who holds a lock, and who waits", http.StatusNotFound),
		func(ctx context.Context, in *lockPath) (*reply[api.Lock], error) {
			v, err := a.control.Lock(ctx, in.key())
			return answer(v, err)
		})
	huma.Register(doc, operation(http.MethodPost, one+"/acquire", "acquire-lock", "Get a lock, or wait for it for a while; ask again with the same place",
		http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity),
		func(ctx context.Context, in *lockInput) (*reply[api.LockAnswer], error) {
			r, err := a.control.AcquireLock(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, in.Body)
			return answer(r, err)
		})
	release := operation(http.MethodPost, one+"/release", "release-lock", "Free a lock, or give a place up",
		http.StatusNotFound, http.StatusUnprocessableEntity)
	release.DefaultStatus = http.StatusNoContent
	huma.Register(doc, release, func(ctx context.Context, in *lockInput) (*struct{}, error) {
		return done(a.control.ReleaseLock(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, in.Body))
	})
	breaks := operation(http.MethodPost, one+"/break", "break-lock", "Take a lock away from who holds it",
		http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity)
	breaks.DefaultStatus = http.StatusNoContent
	huma.Register(doc, breaks, func(ctx context.Context, in *breakInput) (*struct{}, error) {
		token, err := job.ParseToken(in.Body.Token)
		if err != nil {
			return nil, problemOf(&job.InvalidError{Problems: []job.Problem{{Path: "token", Message: err.Error()}}})
		}
		return done(a.control.BreakLock(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, token, api.Order{By: in.Body.By, Reason: in.Body.Reason}))
	})
}

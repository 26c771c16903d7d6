package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/api"
	"github.com/carillon-cron/carillon/job"
)

type queuesInput struct {
	Namespace string `query:"namespace" doc:"Only queues of this namespace."`
}

type queuesBody struct {
	Queues []api.Queue `json:"queues" nullable:"false"`
}

type queuePath struct {
	Namespace string `path:"ns" doc:"The queue's namespace."`
	Name      string `path:"name" doc:"The queue's name."`
}

func (p queuePath) key() job.Key { return job.Key{Namespace: p.Namespace, Name: p.Name} }

type itemPath struct {
	Namespace string `path:"ns" doc:"The queue's namespace."`
	Name      string `path:"name" doc:"The queue's name."`
	ID        string `path:"id" doc:"The item's id."`
}

func (p itemPath) key() job.Key { return job.Key{Namespace: p.Namespace, Name: p.Name} }

type itemsInput struct {
	Namespace string `path:"ns" doc:"The queue's namespace."`
	Name      string `path:"name" doc:"The queue's name."`
	Dead      bool   `query:"dead" doc:"Dead letters, in place of items that wait or that workers have."`
	Cursor    string `query:"cursor" doc:"Where the page before ended."`
	Limit     int    `query:"limit" minimum:"0" maximum:"1000" doc:"How many at most; 0: 100."`
}

type putInput struct {
	Namespace string `path:"ns" doc:"The queue's namespace."`
	Name      string `path:"name" doc:"The queue's name."`
	Body      struct {
		Items  []api.NewItem `json:"items" minItems:"1" maxItems:"200" nullable:"false" doc:"The items."`
		By     string        `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
		Reason string        `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
	}
}

type putBody struct {
	Items []api.PutItem `json:"items" nullable:"false"`
}

type queueOrderInput struct {
	Namespace string `path:"ns" doc:"The queue's namespace."`
	Name      string `path:"name" doc:"The queue's name."`
	Body      *orderBody
}

type holdInput struct {
	Namespace string `path:"ns" doc:"The queue's namespace."`
	Name      string `path:"name" doc:"The queue's name."`
	Body      struct {
		How    string `json:"how" enum:"pause,drain,resume" doc:"pause: hand nothing out. drain: take no new items. resume: neither."`
		By     string `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
		Reason string `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
	}
}

type purgeInput struct {
	Namespace string `path:"ns" doc:"The queue's namespace."`
	Name      string `path:"name" doc:"The queue's name."`
	Body      struct {
		Dead   bool   `json:"dead,omitempty" doc:"Dead letters, in place of items that wait."`
		By     string `json:"by,omitempty" maxLength:"256" doc:"Who asks; kept in the audit record."`
		Reason string `json:"reason,omitempty" maxLength:"1024" doc:"Why; kept in the audit record."`
	}
}

type itemOrderInput struct {
	Namespace string `path:"ns" doc:"The queue's namespace."`
	Name      string `path:"name" doc:"The queue's name."`
	ID        string `path:"id" doc:"The item's id."`
	Body      *orderBody
}

type cancelItemBody struct {
	Gone bool `json:"gone" doc:"It is out of the queue. False: the worker that has it is told to end it."`
}

// maxPutBytes bounds the body of a request that puts items.
const maxPutBytes = 4 << 20

func (a *API) queueRoutes(doc huma.API) {
	const one = "/v1/namespaces/{ns}/queues/{name}"
	huma.Register(doc, operation(http.MethodGet, "/v1/queues", "list-queues", "List queues"),
		func(ctx context.Context, in *queuesInput) (*reply[queuesBody], error) {
			all, err := a.control.Queues(ctx, in.Namespace)
			return answer(queuesBody{some(all)}, err)
		})
	huma.Register(doc, operation(http.MethodGet, one, "get-queue", "Show a queue: what waits, and who works on it", http.StatusNotFound),
		func(ctx context.Context, in *queuePath) (*reply[api.Queue], error) {
			v, err := a.control.Queue(ctx, in.key())
			return answer(v, err)
		})
	remove := operation(http.MethodDelete, one, "delete-queue", "Delete a queue in which nothing is", http.StatusNotFound, http.StatusConflict)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(doc, remove, func(ctx context.Context, in *queuePath) (*struct{}, error) {
		return done(a.control.DeleteQueue(ctx, in.key()))
	})
	hold := operation(http.MethodPost, one+"/hold", "hold-queue", "Pause, drain or resume a queue", http.StatusNotFound, http.StatusConflict)
	hold.DefaultStatus = http.StatusNoContent
	huma.Register(doc, hold, func(ctx context.Context, in *holdInput) (*struct{}, error) {
		key := job.Key{Namespace: in.Namespace, Name: in.Name}
		return done(a.control.HoldQueue(ctx, key, api.QueueOrder(in.Body.How), api.Order{By: in.Body.By, Reason: in.Body.Reason}))
	})
	huma.Register(doc, operation(http.MethodPost, one+"/purge", "purge-queue", "Remove items that no worker has, or dead letters", http.StatusNotFound),
		func(ctx context.Context, in *purgeInput) (*reply[api.ItemsChanged], error) {
			key := job.Key{Namespace: in.Namespace, Name: in.Name}
			v, err := a.control.Purge(ctx, key, in.Body.Dead, api.Order{By: in.Body.By, Reason: in.Body.Reason})
			return answer(v, err)
		})
	huma.Register(doc, operation(http.MethodPost, one+"/redrive", "redrive-queue", "Put dead letters back into their queue", http.StatusNotFound),
		func(ctx context.Context, in *queueOrderInput) (*reply[api.ItemsChanged], error) {
			v, err := a.control.Redrive(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, "", in.Body.order())
			return answer(v, err)
		})
	a.itemRoutes(doc, one+"/items")
}

func (a *API) itemRoutes(doc huma.API, items string) {
	put := operation(http.MethodPost, items, "put-items", "Put items into a queue", http.StatusNotFound, http.StatusConflict)
	put.MaxBodyBytes = maxPutBytes
	huma.Register(doc, put, func(ctx context.Context, in *putInput) (*reply[putBody], error) {
		key := job.Key{Namespace: in.Namespace, Name: in.Name}
		v, err := a.control.PutItems(ctx, key, in.Body.Items, api.Order{By: in.Body.By, Reason: in.Body.Reason})
		return answer(putBody{some(v)}, err)
	})
	huma.Register(doc, operation(http.MethodGet, items, "list-items", "List items of a queue, without their payloads", http.StatusNotFound),
		func(ctx context.Context, in *itemsInput) (*reply[api.ItemPage], error) {
			key := job.Key{Namespace: in.Namespace, Name: in.Name}
			v, err := a.control.QueueItems(ctx, key, api.ItemQuery{Dead: in.Dead, Cursor: in.Cursor, Limit: in.Limit})
			v.Items = some(v.Items)
			return answer(v, err)
		})
	huma.Register(doc, operation(http.MethodGet, items+"/{id}", "get-item", "Show an item, one that has ended by its run", http.StatusNotFound),
		func(ctx context.Context, in *itemPath) (*reply[api.QueueItem], error) {
			v, err := a.control.QueueItem(ctx, in.key(), in.ID)
			return answer(v, err)
		})
	huma.Register(doc, operation(http.MethodPost, items+"/{id}/cancel", "cancel-item", "Take an item out of its queue, and end it", http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *itemOrderInput) (*reply[cancelItemBody], error) {
			gone, err := a.control.CancelItem(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, in.ID, in.Body.order())
			return answer(cancelItemBody{gone}, err)
		})
	huma.Register(doc, operation(http.MethodPost, items+"/{id}/redrive", "redrive-item", "Put a dead letter back into its queue", http.StatusNotFound, http.StatusConflict),
		func(ctx context.Context, in *itemOrderInput) (*reply[api.ItemsChanged], error) {
			v, err := a.control.Redrive(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}, in.ID, in.Body.order())
			return answer(v, err)
		})
}

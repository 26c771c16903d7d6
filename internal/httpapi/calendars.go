package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/carillon-cron/carillon/job"
)

type calendarsInput struct {
	Namespace string `query:"namespace" doc:"Only calendars of this namespace."`
}

type calendarsBody struct {
	Calendars []job.Calendar `json:"calendars" nullable:"false"`
}

type calendarPath struct {
	Namespace string `path:"ns" doc:"The calendar's namespace."`
	Name      string `path:"name" doc:"The calendar's name."`
}

func (a *API) calendarRoutes(doc huma.API) {
	huma.Register(doc, operation(http.MethodGet, "/v1/calendars", "list-calendars", "List calendars"),
		func(ctx context.Context, in *calendarsInput) (*reply[calendarsBody], error) {
			all, err := a.control.Calendars(ctx, in.Namespace)
			return answer(calendarsBody{some(all)}, err)
		})
	remove := operation(http.MethodDelete, "/v1/namespaces/{ns}/calendars/{name}", "delete-calendar", "Delete a calendar that no job names",
		http.StatusNotFound, http.StatusConflict)
	remove.DefaultStatus = http.StatusNoContent
	huma.Register(doc, remove, func(ctx context.Context, in *calendarPath) (*struct{}, error) {
		return done(a.control.DeleteCalendar(ctx, job.Key{Namespace: in.Namespace, Name: in.Name}))
	})
}

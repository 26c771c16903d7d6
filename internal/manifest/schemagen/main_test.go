package main

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/carillon-cron/carillon/job"
)

func TestCommittedSchemaIsCurrent(t *testing.T) {
	t.Parallel()
	want, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../configs/schema/job.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("configs/schema/job.schema.json is not current; run `make generate`")
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[job.Spec]()) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !bytes.Contains(want, []byte(`"`+name+`": {`)) {
			t.Errorf("the schema does not know spec.%s", name)
		}
	}
}

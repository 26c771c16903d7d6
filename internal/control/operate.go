package control

import (
	"errors"

	"github.com/carillon-cron/carillon/job"
)

// isConflict reports whether somebody else was faster.
func isConflict(err error) bool { return errors.Is(err, job.ErrConflict) }

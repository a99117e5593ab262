package pgerr_test

import (
	"errors"
	"fmt"

	"github.com/page-builder/persistence/pgerr"
)

// A custom error states its category and whether the transaction may run again.
func ExampleCategory() {
	err := fmt.Errorf("publish: %w", errQuota)
	fmt.Println(pgerr.Of(err), pgerr.Retryable(err))
	fmt.Println(pgerr.Of(errors.New("no database in it")))
	// Output:
	// over_quota false
	// unknown
}

var errQuota error = quota{}

type quota struct{}

func (quota) Error() string            { return "no quota for another page" }
func (quota) Category() pgerr.Category { return "over_quota" }
func (quota) Retryable() bool          { return false }

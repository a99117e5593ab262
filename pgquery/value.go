package pgquery

import (
	"bytes"
	"cmp"
	"database/sql/driver"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"
)

// validator is a type that knows its values, as sqlc generates it for enums.
type validator interface{ Valid() bool }

// isValidator is the same with the name that package net/netip chose.
type isValidator interface{ IsValid() bool }

// The server's range is 4713 BC to 294276 AD. The microseconds of a cursor end in 294247.
// The limits are rounded inwards.
const minYear, maxYear = -4711, 294246

// maxDepth limits nested values. The server's max_stack_depth of 2 MB is enough for some thousands.
const maxDepth = 1000

// valuedNull is the reason for a value that its own code turns into null.
const valuedNull = "is null"

// checkSent returns why the server would refuse the value that pgx sends for v, or "".
func checkSent(v reflect.Value) string {
	if reason := checkValue(v, 0); reason != "" || !v.IsValid() {
		return reason
	}
	if v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	t := v.Type()
	switch known := v.Interface().(type) {
	case time.Time, optional:
		return ""
	case driver.Valuer:
		if t.PkgPath() == reflect.TypeFor[pgtype.Text]().PkgPath() || isNull(v) {
			return "" // pgx calls another method of it, or none
		}
		value, err := known.Value()
		if text, ok := value.(string); ok {
			return checkString(text)
		}
		if err != nil {
			return "has no value"
		}
		if value == nil {
			return valuedNull
		}
		return ""
	}
	if t.Kind() == reflect.Map || t.Kind() == reflect.Struct && !hasValid(t) {
		b, err := json.Marshal(v.Interface())
		if err != nil {
			return "cannot be JSON"
		}
		return checkJSON(b)
	}
	return ""
}

// checkValue returns why the server would refuse the value itself, or "".
func checkValue(v reflect.Value, depth int) string {
	if !v.IsValid() {
		return ""
	}
	if depth > maxDepth {
		return "is nested too deeply"
	}
	if v.Type().NumMethod() > 0 && v.CanInterface() && v.Kind() != reflect.Pointer && v.Kind() != reflect.Interface {
		switch known := v.Interface().(type) {
		case time.Time:
			return checkTime(known)
		case json.RawMessage:
			if known == nil {
				return ""
			}
			return checkJSON(known)
		case json.Number:
			return checkNumber(known)
		case validator:
			if !known.Valid() {
				return "is not a value of its type"
			}
		case isValidator:
			if !known.IsValid() {
				return "is not a value of its type"
			}
		}
	}
	switch v.Kind() {
	case reflect.String:
		return checkString(v.String())
	case reflect.Pointer:
		return checkValue(v.Elem(), depth+1)
	case reflect.Interface:
		return checkValue(v.Elem(), depth)
	case reflect.Slice, reflect.Array:
		if elem := v.Type().Elem(); elem.Kind() < reflect.Array && elem.NumMethod() == 0 { // bytes, numbers
			return ""
		}
		for i := range v.Len() {
			if reason := checkValue(v.Index(i), depth+1); reason != "" {
				return reason
			}
		}
	case reflect.Map:
		for key, value := range v.Seq2() {
			if reason := cmp.Or(checkValue(key, depth+1), checkValue(value, depth+1)); reason != "" {
				return reason
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); !f.IsExported() && !f.Anonymous {
				continue
			}
			if reason := checkValue(v.Field(i), depth+1); reason != "" {
				return reason
			}
		}
	}
	return ""
}

func checkString(s string) string {
	if !utf8.ValidString(s) {
		return "is not UTF-8"
	}
	if strings.IndexByte(s, 0) >= 0 {
		return "contains a NUL"
	}
	return ""
}

func checkTime(t time.Time) string {
	if y := t.Year(); y < minYear || y > maxYear {
		return "is outside of the server's range of times"
	}
	return ""
}

// surrogates finds escapes of code points in JSON: both halves of a pair, or a lone half.
var surrogates = regexp.MustCompile(`(?i)\\\\|\\ud[89ab]..\\ud[c-f]..|\\ud[89a-f]`)

// checkJSON returns why jsonb would refuse a text that Go accepts as JSON: an escaped NUL, half of
// a surrogate pair, a number out of range, or deep nesting.
func checkJSON(raw json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	isHalf := func(escape []byte) bool { return len(escape) == len(`\ud8`) }
	if d.Decode(&v) != nil || !json.Valid(raw) || !utf8.Valid(raw) || checkValue(reflect.ValueOf(v), 0) != "" ||
		slices.ContainsFunc(surrogates.FindAll(raw, -1), isHalf) {
		return "is not JSON that the server accepts"
	}
	return ""
}

// checkNumber requires a number far inside the limits of the type numeric.
func checkNumber(n json.Number) string {
	const limit = 1000
	_, exponent, _ := strings.Cut(strings.ToLower(n.String()), "e")
	if e, err := strconv.Atoi(cmp.Or(exponent, "0")); err != nil || e > limit || e < -limit || len(n) > limit {
		return "is a number out of range"
	}
	return ""
}

// isUUID reports an array of 16 bytes.
func isUUID(t reflect.Type) bool {
	return t.Kind() == reflect.Array && t.Len() == 16 && t.Elem().Kind() == reflect.Uint8
}

// encodable returns a value that pgx can encode in each of its modes. Modes that do not ask the
// server for parameter types do not know an array of 16 bytes.
func encodable(value any) any {
	switch v := reflect.Indirect(reflect.ValueOf(value)); value.(type) {
	case driver.Valuer, pgtype.UUIDValuer:
	default:
		if v.IsValid() && isUUID(v.Type()) {
			return uuidOf(v)
		}
	}
	return value
}

func uuidOf(v reflect.Value) pgtype.UUID {
	u := pgtype.UUID{Valid: true}
	reflect.Copy(reflect.ValueOf(&u.Bytes).Elem(), v)
	return u
}

// uuids returns arrays of 16 bytes, or pointers to them, as an array that pgx can encode in each of
// its modes.
func uuids(array reflect.Value) []pgtype.UUID {
	all := make([]pgtype.UUID, array.Len())
	for i := range all {
		if v := reflect.Indirect(array.Index(i)); v.IsValid() {
			all[i] = uuidOf(v)
		}
	}
	return all
}

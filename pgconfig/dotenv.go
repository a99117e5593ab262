package pgconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"

	"github.com/joho/godotenv"
)

// readDotEnv reads one .env file. A file that does not exist is passed over.
func (l *loader) readDotEnv(path string) (map[string]string, bool) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false
	}
	if err != nil {
		l.add(path, "cannot be read", "allow this user to read it, or remove it")
		return nil, false
	}
	text := strings.TrimPrefix(string(data), "\ufeff")
	values, err := godotenv.Unmarshal(text)
	if err != nil {
		// The error quotes the rest of the file.
		l.add(fmt.Sprintf("%s line %d", path, brokenLine(text)), "is not of the form NAME=value",
			"a value with spaces or a # stands in quotes, and a quotation mark is closed")
		return nil, false
	}
	for _, m := range references.FindAllStringSubmatch(text, -1) {
		if _, set := values[m[2]]; !set {
			// Not shown: it is more often a piece of a password than the name of a variable.
			l.add(path, "has a $ in "+m[1]+" that is taken for a variable and replaced by nothing", "put the value in single quotes")
			return nil, false
		}
	}
	return values, true
}

// references finds the variables that godotenv replaces: $NAME and ${NAME} in a value without
// quotes or in double ones.
var references = regexp.MustCompile(`(?m)^[ \t]*(?:export[ \t]+)?((?:[A-Z0-9]+_)?(?:DATABASE|DIRECT|PG)[A-Z0-9_]*)[ \t]*[=:][ \t]*[^'\n][^\n]*?[^\\\n]\$\{?([A-Z0-9_]+)`)

// brokenLine finds the line at which parsing fails: the first after which no longer beginning of
// the text parses. A value in quotes may span lines, so that one failure is not enough.
func brokenLine(text string) int {
	lines := strings.Split(text, "\n")
	good := 0
	for n := 1; n <= len(lines); n++ {
		if _, err := godotenv.Unmarshal(strings.Join(lines[:n], "\n")); err == nil {
			good = n
		}
	}
	return good + 1
}

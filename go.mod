module github.com/page-builder/persistence

go 1.25.0

tool github.com/magefile/mage

require github.com/magefile/mage v1.17.2

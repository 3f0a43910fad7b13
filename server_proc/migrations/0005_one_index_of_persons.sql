-- Each index that a mark goes into at a place of its own costs a page in each commit. The marks of a person, in whatever
-- order, are found by marks_by_person_and_timestamp as well.
DROP INDEX marks_by_person;

-- Your SQL goes here
CREATE TABLE `tags`(
	`id` INTEGER NOT NULL PRIMARY KEY,
	`name` TEXT NOT NULL,
	`colour` TEXT
);

CREATE TABLE `task_tags`(
	`task_id` INTEGER NOT NULL,
	`tag_id` INTEGER NOT NULL,
	PRIMARY KEY(`task_id`, `tag_id`),
	FOREIGN KEY (`task_id`) REFERENCES `task`(`id`),
	FOREIGN KEY (`tag_id`) REFERENCES `tags`(`id`)
);
INSERT INTO `tags` (`name`, `colour`) VALUES ('red; hot', x'23') RETURNING `id`;


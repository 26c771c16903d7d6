INSERT INTO xxl_job_info (id, job_desc, schedule_type, schedule_conf, glue_type, glue_source) VALUES
 (1, 'bad cron', 'CRON', '0 0 0 * * *', 'GLUE_SHELL', 'a'), (2, 'bad type', 'SOMETIMES', 'x', 'GLUE_SHELL', 'a'),
 (3, 'bad rate', 'FIX_RATE', 'x', 'GLUE_SHELL', 'a'), (4, 'groovy', 'NONE', '', 'GLUE_GROOVY', 'a'), (5, 'empty', 'NONE', '', 'GLUE_SHELL', '');
INSERT INTO other VALUES (1, 2;

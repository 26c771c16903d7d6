-- MySQL dump 10.13
/*!40101 SET NAMES utf8mb4 */;
CREATE TABLE `xxl_job_group` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `app_name` varchar(64) NOT NULL COMMENT 'executor, AppName',
  `title` varchar(12) NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB;
INSERT INTO `xxl_job_group` VALUES (1,'etl-executor','ETL; (main)'),(2,'web','Web');
CREATE TABLE `xxl_job_info` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `job_group` int(11) NOT NULL,
  `job_desc` varchar(255) NOT NULL,
  `add_time` datetime DEFAULT NULL,
  `author` varchar(64) DEFAULT NULL,
  `alarm_email` varchar(255) DEFAULT NULL,
  `schedule_type` varchar(50) NOT NULL DEFAULT 'NONE',
  `schedule_conf` varchar(128) DEFAULT NULL,
  `misfire_strategy` varchar(50) NOT NULL DEFAULT 'DO_NOTHING',
  `executor_route_strategy` varchar(50) DEFAULT NULL,
  `executor_handler` varchar(255) DEFAULT NULL,
  `executor_param` varchar(512) DEFAULT NULL,
  `executor_block_strategy` varchar(50) DEFAULT NULL,
  `executor_timeout` int(11) NOT NULL DEFAULT '0',
  `executor_fail_retry_count` int(11) NOT NULL DEFAULT '0',
  `glue_type` varchar(50) NOT NULL,
  `glue_source` mediumtext,
  `child_jobid` varchar(255) DEFAULT NULL,
  `trigger_status` tinyint(4) NOT NULL DEFAULT '0',
  PRIMARY KEY (`id`),
  KEY `g` (`job_group`)
) ENGINE=InnoDB;
INSERT INTO `xxl_job_info` VALUES
(1,1,'nightly extract','2026-01-01 00:00:00','ada','ada@example.org','CRON','0 30 2 * * ? *','FIRE_ONCE_NOW','ROUND','','--day \'last one\'','DISCARD_LATER',1800,2,'GLUE_SHELL','#!/bin/bash\r\necho \"hello $1; 100%\"\r\nexit 0\r\n','2,9',1),
(2,1,'load',NULL,'ada','','NONE','','DO_NOTHING','FIRST','','x','SERIAL_EXECUTION',0,0,'GLUE_PYTHON','import sys\nprint(\'it''s\')\n','',0),
(3,2,'ping','2026-01-01 00:00:00','bob','','FIX_RATE','30','DO_NOTHING','SHARDING_BROADCAST','','','COVER_EARLY',0,0,'GLUE_SHELL','curl -fsS https://example.org\n',NULL,1),
(4,2,'last working day','2026-01-01 00:00:00','bob','','CRON','0 0 18 LW * ?','DO_NOTHING','FAILOVER','','','SERIAL_EXECUTION',0,0,'GLUE_NODEJS','console.log(1)','2',0),
(5,1,'java','2026-01-01 00:00:00','bob','','CRON','0 0 18 * * ?','DO_NOTHING','FAILOVER','demoJobHandler','','SERIAL_EXECUTION',0,0,'BEAN','','',1);
UNLOCK TABLES;
